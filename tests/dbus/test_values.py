"""Values, names and errors that a bus does not accept: named errors, and the bus is kept."""

# ruff: noqa: N802, N818 - names as they are on the bus

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dbus_fast import DBusError, Message, Variant
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sparts.errors import UsageError
from sparts.tasks.dbus import DBusClientTask, DBusObject, DBusServiceTask, dbus_method
from sparts.tasks.dbus.interfaces import interfaces_of
from sparts.tasks.dbus.types import ObjectPath, Signature, UnixFD, UnsupportedTypeError
from sparts.tasks.dbus.validity import check_body, is_signature
from sparts.testing.running import running_task

from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

NAME, PATH = "org.example.Odd", "/org/example/Odd"


class Fehlerü(Exception):
    """D-Bus allows no ü in a name."""


class BadName(Exception):
    dbus_name = "no name\n"


LongName = type("L" * 300, (Exception,), {})
Digit = type("2fast", (Exception,), {})


class UnreadableName(Exception):
    @property
    def dbus_name(self) -> str:
        raise SystemExit(9)


def layers(depth: int, layer: Callable[[Any], Any], value: Any = "x") -> Any:
    for _ in range(depth):
        value = layer(value)
    return value


def nested(depth: int) -> Any:
    return layers(depth, lambda value: Variant("v", value), Variant("s", "x"))


LISTED, MAPPED = layers(40, lambda value: [value]), layers(40, lambda value: {"k": value})


VALUES: dict[str, Any] = {
    "lists": LISTED,
    "lists of variants": LISTED[0] + [1],
    "mappings": MAPPED,
    "tuples": ((((1,),) * 2,) * 8,) * 9,
    "surrogate": "caf\udce9",
    "zero": "a\0b",
    "two types": Variant("ss", "a", verify=False),
    "entry": Variant("{sv}", {}, verify=False),
    "variant keys": Variant("a{vs}", {}, verify=False),
    "path": Variant("o", "no path", verify=False),
    "path with line break": Variant("o", "/a\n", verify=False),
    "signature": Variant("g", "a{vs}", verify=False),
    "variants": nested(64),
    "recursion": None,
}
VALUES["recursion"] = [VALUES]
VALUES["all of them"] = VALUES


class Odd(DBusServiceTask):
    BUS_NAME = NAME

    @dbus_method
    def Give(self, which: str) -> Any:
        return VALUES[which]

    @dbus_method
    async def GiveSoon(self, which: str) -> Any:
        return VALUES[which]

    @dbus_method
    def Where(self, where: str) -> ObjectPath:
        return where

    @dbus_method
    def What(self, what: str) -> Signature:
        return what + "\n"

    @dbus_method
    def Many(self) -> list[UnixFD]:
        return [open("/dev/null") for _ in range(17)]

    @dbus_method
    def Raise(self, which: str) -> None:
        raise {
            "text": ValueError("caf\udce9.txt\0"),
            "class": Fehlerü("a look"),
            "name": BadName("a look"),
            "long": LongName("a look"),
            "digit": Digit("a look"),
            "unreadable": UnreadableName("a look"),
            "dbus": DBusError("org.example.Error.A\n", "a look"),
            "no text": DBusError("org.example.Error.A", None),  # type: ignore[arg-type]
            "large": ValueError("x" * (130 << 20)),
        }[which]


@pytest.fixture
def odd(session_bus: Daemon) -> Iterator[Odd]:
    with running_task(Odd, *session_bus.argv) as task:
        yield task


def raised(client: DBusClientTask, member: str, *args: Any) -> DBusError:
    with pytest.raises(DBusError) as caught:
        client.proxy(NAME, PATH, NAME).call(member, *args)
    return caught.value


@pytest.mark.parametrize("which", VALUES)
def test_value_that_no_bus_accepts_is_named_error(
    odd: Odd, client: DBusClientTask, which: str
) -> None:
    connection = odd.unique_name
    for member in ("Give", "GiveSoon"):
        error = raised(client, member, which)
        assert error.type.startswith(("org.freedesktop.DBus.Error.Failed", "org.sparts.Error."))
    assert odd.unique_name == connection


def test_invalid_path_or_signature_result_is_an_error(odd: Odd, client: DBusClientTask) -> None:
    connection = odd.unique_name
    for member, given_value in (("Where", "no path"), ("Where", "/a//b"), ("Where", "/a\n"),
                                ("What", "s"), ("Many", None)):  # fmt: skip
        args = () if given_value is None else (given_value,)
        assert raised(client, member, *args).type == "org.freedesktop.DBus.Error.Failed"
    assert client.proxy(NAME, PATH, NAME).Where("/a/b") == "/a/b"
    assert odd.unique_name == connection


@pytest.mark.parametrize(
    ("which", "name", "text"),
    [
        ("text", "org.sparts.Error.ValueError", "caf\\udce9.txt\\0"),
        ("class", "org.sparts.Error.Fehler_", "a look"),
        ("name", "org.sparts.Error.BadName", "a look"),
        ("long", "org.sparts.Error." + "L" * 200, "a look"),
        ("digit", "org.sparts.Error._2fast", "a look"),
        ("unreadable", "org.sparts.Error.UnreadableName", "a look"),
        ("dbus", "org.freedesktop.DBus.Error.Failed", "org.example.Error.A\n: a look"),
        ("no text", "org.example.Error.A", "None"),
        ("large", "org.sparts.Error.ValueError", "x" * 65536),
    ],
)
def test_error_that_no_bus_accepts_is_answered(
    odd: Odd, client: DBusClientTask, which: str, name: str, text: str
) -> None:
    connection = odd.unique_name
    error = raised(client, "Raise", which)
    assert (error.type, error.text) == (name, text)
    assert odd.unique_name == connection


@pytest.mark.parametrize(
    ("signature", "value"),
    [
        ("v", MAPPED),
        ("v", nested(70)),
        ("o", "no path"),
        ("a{so}", {"a": "no path"}),
        ("(g)", ("{sv}",)),
        ("{sv}", {}),
        ("a{vs}", {}),
        ("h" * 20, None),
    ],
)
def test_client_refuses_to_send_what_no_bus_accepts(
    client: DBusClientTask, signature: str, value: Any
) -> None:
    connection = client.unique_name
    proxy = client.proxy(NAME, PATH, NAME)
    args = range(20) if value is None else (value,)
    with pytest.raises((TypeError, OSError)):
        proxy.call("Give", *args, signature=signature)
    assert client.unique_name == connection


@pytest.mark.parametrize(
    ("name", "path", "interface", "member"),
    [
        ("org.example.Odd\n", PATH, NAME, "Give"),
        (NAME, "/a\n", NAME, "Give"),
        (NAME, PATH, "org.example.Odd\n", "Give"),
        (NAME, PATH, NAME, "Give-Me"),
        (NAME, PATH, NAME, "Give\n"),
    ],
)
def test_client_refuses_names_that_no_bus_accepts(
    client: DBusClientTask, name: str, path: str, interface: str, member: str
) -> None:
    connection = client.unique_name
    with pytest.raises(TypeError, match="is no|invalid"):
        client.proxy(name, path, interface).call(member, "", signature="s")
    assert client.unique_name == connection


values = st.recursive(
    st.one_of(
        st.text(max_size=3).map(lambda text: Variant("s", text, verify=False)),
        st.sampled_from(["/", "/a", "/a/", "", "a"]).map(lambda p: Variant("o", p, verify=False)),
        st.sampled_from(["", "s", "a", "a{sv}", "{sv}", "()", "a" * 33 + "s"]).map(
            lambda signature: Variant("g", signature, verify=False)
        ),
    ),
    lambda inner: st.one_of(
        inner.map(lambda value: Variant("v", value, verify=False)),
        inner.map(lambda value: Variant("av", [value], verify=False)),
        inner.map(lambda value: Variant("a{sv}", {"k": value}, verify=False)),
        inner.map(lambda v: Variant(f"({v.signature})", [v.value], verify=False)),
        inner.map(lambda v: Variant(f"a{v.signature}", [v.value], verify=False)),
    ),
    max_leaves=1,
)


def wrapped(value: Variant, layers: list[str]) -> Variant:
    """Put a value into arrays, structs, mappings and variants."""
    for layer in layers:
        if layer == "v":
            value = Variant("v", value, verify=False)
        elif layer == "{":
            value = Variant("a{sv}", {"k": value}, verify=False)
        else:
            close = ")" if layer == "(" else ""
            signature = f"{layer}{value.signature}{close}"
            value = Variant(signature, [value.value], verify=False)
    return value


def test_bus_keeps_who_sends_what_the_check_accepts(session_bus: Daemon, odd: Odd) -> None:
    connection = odd.unique_name

    async def send(message: Message) -> None:
        assert odd.bus is not None
        await odd.bus.exchange(message)

    @settings(max_examples=150, deadline=None)
    @given(value=values, layers=st.lists(st.sampled_from("v{a("), max_size=50))
    @example(value=Variant("s", ""), layers=["{"] * 21)
    @example(value=Variant("s", ""), layers=["v"] * 63)
    @example(value=Variant("s", ""), layers=["a"] * 32)
    @example(value=Variant("s", ""), layers=["("] * 32)
    @example(value=Variant("s", ""), layers=["a"] * 32 + ["("] * 31)
    def send_what_passes(value: Variant, layers: list[str]) -> None:
        try:
            message = Message("org.example.Nobody", "/", "org.example.Odd", "Take", signature="v",
                              body=[wrapped(value, layers)])  # fmt: skip
            check_body(message.signature_tree, message.body)
            message._marshall(False)
        except Exception:  # refused here, so it never comes to the bus
            return
        with pytest.raises(DBusError) as caught:
            odd.loop_task.call(send, message).result(30)
        assert caught.value.type == "org.freedesktop.DBus.Error.ServiceUnknown"

    send_what_passes()
    assert odd.unique_name == connection


@pytest.mark.parametrize(
    ("signature", "valid"),
    [
        ("", True), ("sss", True), ("a{sv}", True), ("a{s(iv)}", True),
        ("a" * 32 + "s", True), ("a" * 33 + "s", False),
        ("(" * 32 + "s" + ")" * 32, True), ("(" * 33 + "s" + ")" * 33, False),
        ("s" * 255, True), ("s" * 256, False),
        ("{sv}", False), ("a{vs}", False), ("a{s}", False), ("()", False), ("a", False),
        ("(s", False), ("z", False), ("s\n", False), ("é", False), (None, False),
    ],
)  # fmt: skip
def test_signatures_are_those_of_the_specification(signature: Any, valid: bool) -> None:
    assert is_signature(signature) is valid


def test_too_deep_type_is_named_at_the_start() -> None:
    def Deep(self: Any) -> None: ...

    Deep.__annotations__ = {"return": layers(40, lambda kind: list[kind], str)}  # type: ignore[valid-type]
    thing = type("Thing", (DBusObject,), {"INTERFACE": NAME, "Deep": dbus_method(Deep)})
    with pytest.raises(UsageError, match=r"Thing\.Deep: what it returns: .* too long or deep"):
        interfaces_of(thing())
    with pytest.raises(UnsupportedTypeError, match="nested too deep"):
        check_body(Message("a.b", "/", "a.b", "c", signature="v").signature_tree, [nested(64)])
