"""What a task offers on the bus, as real clients see it."""

# ruff: noqa: N802, N818 - names as they are on the bus

from __future__ import annotations

import asyncio
import enum
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from dbus_fast import Message, Variant
from sparts.errors import SpartsError, UsageError
from sparts.tasks.dbus import (
    CallTimeoutError,
    DBusError,
    DBusObject,
    DBusServiceTask,
    caller,
    dbus_details,
    dbus_method,
    dbus_property,
    dbus_signal,
)
from sparts.tasks.dbus.errors import error_name
from sparts.tasks.dbus.interfaces import interfaces_of
from sparts.tasks.dbus.types import Byte, ObjectPath, Signature, UInt16, UInt32, UInt64, UnixFD
from sparts.testing.running import running_task
from sparts.testing.waiting import log_of

from tests.dbus.daemons import Daemon, Monitor
from tests.dbus.services import Greeter, make_service, running, service_of

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin", "systemd")

NAME, PATH = "org.example.Lab", "/org/example/Lab"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Division(NamedTuple):
    quotient: int
    rest: int


class Point(NamedTuple):
    x: float
    label: str


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class NoSuchThing(Exception):
    dbus_name = "org.example.Error.NoSuchThing"


class Lab(DBusServiceTask):
    """A laboratory."""

    BUS_NAME = NAME
    RETRY_AFTER = 0.01

    def initTask(self) -> None:
        super().initTask()
        self.level = 1.5
        self.kept: list[int] = []

    @dbus_method
    def Echo(self, value: Any) -> Any:
        return value

    @dbus_method
    async def EchoVariant(self, value: Variant) -> Variant:
        return value

    @dbus_method
    def Numbers(self, y: Byte, q: UInt16, u: UInt32, x: int, t: UInt64) -> list[str]:
        return [str(number) for number in (y, q, u, x, t)]

    @dbus_method
    def Edges(self) -> tuple[int, int, UInt64]:
        return -(2**63), 2**63 - 1, 2**64 - 1

    @dbus_method
    def TooLarge(self) -> int:
        return 2**63

    @dbus_method
    def WrongType(self) -> str:
        return 7  # type: ignore[return-value]

    @dbus_method
    async def Divide(self, a: int, b: int) -> Division:
        """Divide two whole numbers."""
        return Division(*divmod(a, b))

    @dbus_method
    def Mirror(self, point: Point, colour: Colour) -> list[tuple[Point, Colour]]:
        assert isinstance(point, Point)
        assert colour is Colour.RED
        return [(Point(-point.x, point.label), Colour.BLUE)]

    @dbus_method
    def Texts(self, path: ObjectPath, signature: Signature, data: bytes) -> str:
        return f"{path} {signature} {data!r}"

    @dbus_method
    def Table(self, table: dict[str, list[int]]) -> dict[int, str]:
        return {sum(numbers): name for name, numbers in table.items()}

    @dbus_method(name="renamed", interface="org.example.Other")
    def other(self) -> None:
        """Do nothing, elsewhere."""

    @dbus_method
    def Fail(self, how: str) -> None:
        raise {
            "named": DBusError("org.example.Error.Named", "by name"),
            "own": NoSuchThing("not here"),
            "permission": PermissionError("not you"),
            "any": LookupError("a look"),
            "empty": LookupError(),
            "broken": Broken(),
            "ours": SpartsError("not today"),
        }[how]

    @dbus_method
    def Where(self) -> bool:
        return threading.current_thread() in self.loop_task.threads

    @dbus_method
    async def WhereAsync(self) -> bool:
        return threading.current_thread() in self.loop_task.threads

    @dbus_method
    def Who(self) -> list[str]:
        return [caller().sender, caller().path]

    @dbus_method
    def ReadAll(self, fd: UnixFD) -> str:
        self.kept.append(fd)
        with open(fd, closefd=False) as file:
            return file.read()

    @dbus_method
    def Open(self, text: str) -> UnixFD:
        ours, theirs = socket.socketpair()
        with ours:
            ours.sendall(text.encode())
        return theirs

    @dbus_property
    def Level(self) -> float:
        """How full it is."""
        return self.level

    @Level.setter
    def Level(self, level: float) -> None:
        if level < 0:
            raise ValueError("a level is not below 0")
        self.level = level

    @dbus_property
    @dbus_details(emits_change="const")
    def Serial(self) -> str:
        return "X1"

    @dbus_property
    @dbus_details(emits_change="invalidates")
    def Secret(self) -> list[int]:
        return [1, 2]

    @dbus_signal
    def Boiled(self, degrees: float, what: dict[str, Any]) -> None:
        """Something has boiled."""


Service = service_of(Lab)


@pytest.fixture
def lab(session_bus: Daemon) -> Iterator[Lab]:
    with running_task(Lab, *session_bus.argv) as task:
        yield task


def call(bus: Daemon, method: str, *args: str, check: bool = True) -> str:
    return bus.gdbus(NAME, PATH, f"{NAME}.{method}", *args, check=check)


# -- types -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("<true>", "<true>"),
        ("<int64 -9223372036854775808>", "<int64 -9223372036854775808>"),
        ("<uint64 18446744073709551615>", "<uint64 18446744073709551615>"),
        ("<1.5>", "<1.5>"),
        ("<'text'>", "<'text'>"),
        ("<b'bytes'>", "<b'bytes'>"),
        ("<{'a': <[<1>, <'two'>]>, 'b': <{'c': <@as []>}>}>",
         "<{'a': <[<int64 1>, <'two'>]>, 'b': <{'c': <@av []>}>}>"),
        ("<<<'deep'>>>", "<'deep'>"),
        ("<(1, 'x')>", "<(int64 1, 'x')>"),
    ],
)  # fmt: skip
def test_a_variant_is_a_plain_value_in_python(
    session_bus: Daemon, lab: Lab, given: str, answer: str
) -> None:
    assert call(session_bus, "Echo", given) == f"({answer},)"


@pytest.mark.parametrize(
    "value", ["<<<'deep'>>>", "<(1, [<'x'>])>", "<@a{u(sv)} {7: ('a', <@n 3>)}>"]
)
def test_variant_keeps_its_signature(session_bus: Daemon, lab: Lab, value: str) -> None:
    shown = call(session_bus, "EchoVariant", value)
    assert shown.replace("int16", "@n") == f"({value},)".replace("@a{u(sv)} {7", "{uint32 7")


def test_whole_numbers_reach_their_edges(session_bus: Daemon, lab: Lab) -> None:
    said = session_bus.busctl(
        "call", "--", NAME, PATH, NAME, "Numbers", "yquxt",
        "255", "65535", "4294967295", "-9223372036854775808", "18446744073709551615",
    )  # fmt: skip
    assert said == ('as 5 "255" "65535" "4294967295" "-9223372036854775808" "18446744073709551615"')
    assert call(session_bus, "Edges") == (
        "(int64 -9223372036854775808, int64 9223372036854775807, uint64 18446744073709551615)"
    )


def test_misfit_of_a_type_is_an_error(session_bus: Daemon, lab: Lab) -> None:
    for method, kind in (("TooLarge", "'x'"), ("WrongType", "'s'")):
        with log_of(lab.service) as log:
            said = call(session_bus, method, check=False)
        assert "org.freedesktop.DBus.Error.Failed" in said
        assert f"{NAME}.{method} returned what is not {kind}" in said
        log.wait_for_line(f"ERROR:.*{method} returned what is not")
    assert call(session_bus, "Edges")


def test_tuples_are_several_results(session_bus: Daemon, lab: Lab) -> None:
    assert call(session_bus, "Divide", "7", "2") == "(int64 3, int64 1)"
    xml = session_bus.introspect(NAME, PATH)
    assert '<arg name="quotient" direction="out" type="x" />' in xml


def test_structs_enums_and_arrays_convert_both_ways(session_bus: Daemon, lab: Lab) -> None:
    assert call(session_bus, "Mirror", "(1.5, 'p')", "red") == "([((-1.5, 'p'), 'blue')],)"
    assert call(session_bus, "Table", "{'a': [1, 2], 'b': [4]}") == "({int64 3: 'a', 4: 'b'},)"
    said = call(session_bus, "Mirror", "(1.5, 'p')", "green", check=False)
    assert "org.sparts.Error.ValueError" in said
    said = call(session_bus, "Texts", "/a/b", "a{sv}", "[byte 1, 2]")
    assert said == r"""("/a/b a{sv} b'\\x01\\x02'",)"""


@pytest.mark.parametrize(
    ("annotation", "named"),
    [
        (int | None, "int | None is no type of D-Bus"),
        (set[int], r"set\[int\] is no type"),
        (list, r"Say of what: list\[...\]"),
        (dict[bytes, int], "keys of a D-Bus dictionary are basic"),
        (complex, "complex is no type"),
        (type(None), "NoneType is no type"),
    ],
)
def test_impossible_type_is_named_at_the_start(annotation: Any, named: str) -> None:
    def Broken(self: Any, first: Any, second: Any) -> None: ...

    Broken.__annotations__ = {"first": int, "second": annotation, "return": None}
    task = type("Bad", (Lab,), {"Broken": dbus_method(Broken)})
    with pytest.raises(UsageError, match=rf"Bad\.Broken: the argument second: .*{named}"):
        make_service(service_of(task), "--dbus-address", "unix:path=/nowhere").startBG()


def test_dry_run_finds_an_impossible_type() -> None:
    class Bad(Lab):
        @dbus_method
        def Broken(self) -> complex:
            return 1j

    service_class = service_of(Bad)
    service = make_service(service_class, "--dryrun")
    with pytest.raises(UsageError, match=r"Bad\.Broken: what it returns: complex is no type"):
        service_class.initFromOptions(service.options)


def test_member_without_type_or_name_is_refused() -> None:
    def untyped(self, what) -> None: ...  # type: ignore[no-untyped-def]

    def typed() -> Any:
        def take(self: Any) -> None: ...

        return take

    async def size(self: Any) -> int:
        return 1

    for member, interface, said in (
        (dbus_method(untyped), "org.example.X", "Odd.untyped: say the type of what"),
        (
            dbus_method(name="no-such")(typed()),
            "org.example.X",
            "'no-such' is no name for a method",
        ),
        (dbus_method(typed()), "", "set Odd.INTERFACE"),
        (dbus_method(typed()), "nodots", "'nodots' is no name of a D-Bus interface"),
        (dbus_property(size), "org.example.X", "a property cannot be `async`"),
    ):
        names = {"INTERFACE": interface} if interface else {}
        thing = type("Odd", (DBusObject,), {"member": member, **names})
        with pytest.raises(UsageError, match=said):
            interfaces_of(thing())


# -- calls -----------------------------------------------------------------------------------------


def test_def_runs_in_thread_async_def_in_loop(session_bus: Daemon, lab: Lab) -> None:
    assert call(session_bus, "Where") == "(false,)"
    assert call(session_bus, "WhereAsync") == "(true,)"


def test_waiting_and_immediate_coroutines_both_answer(session_bus: Daemon) -> None:
    import asyncio

    class Both(Lab):
        @dbus_method
        async def AtOnce(self, fail: bool) -> str:
            if fail:
                raise LookupError("at once")
            return caller().path

        @dbus_method
        async def Later(self, fail: bool) -> str:
            await asyncio.sleep(0)
            async with asyncio.timeout(30):
                if fail:
                    raise LookupError("later")
            return caller().path

    with running(service_of(Both), *session_bus.argv):
        for method, said in (("AtOnce", "at once"), ("Later", "later")):
            assert call(session_bus, method, "false") == f"('{PATH}',)"
            error = call(session_bus, method, "true", check=False)
            assert f"org.sparts.Error.LookupError: {said}" in error


def test_a_method_knows_who_calls(session_bus: Daemon, lab: Lab) -> None:
    said = session_bus.busctl("call", NAME, PATH, NAME, "Who")
    assert said.startswith('as 2 ":1.')
    assert said.endswith(f'"{PATH}"')
    with pytest.raises(LookupError):
        caller()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (PermissionError, "AccessDenied"),
        (FileNotFoundError, "FileNotFound"),
        (FileExistsError, "FileExists"),
        (TimeoutError, "Timeout"),
        (NotImplementedError, "NotSupported"),
        (MemoryError, "NoMemory"),
    ],
)
def test_errors_of_python_have_dbus_names(kind: type[Exception], name: str) -> None:
    assert error_name(kind("x")) == f"org.freedesktop.DBus.Error.{name}"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("named", "org.example.Error.Named: by name"),
        ("own", "org.example.Error.NoSuchThing: not here"),
        ("permission", "org.freedesktop.DBus.Error.AccessDenied: not you"),
        ("any", "org.sparts.Error.LookupError: a look"),
        ("empty", "org.sparts.Error.LookupError: LookupError"),
        ("broken", "org.sparts.Error.Broken: <Broken that cannot be shown: RuntimeError>"),
        ("ours", "org.sparts.Error.SpartsError: not today"),
    ],
)
def test_what_a_method_raises_is_a_named_error(
    session_bus: Daemon, lab: Lab, how: str, said: str
) -> None:
    with log_of(lab.service) as log:
        assert said in call(session_bus, "Fail", how, check=False)
        logged = [line for line in log.items if line.startswith("ERROR")]
    assert bool(logged) == (how not in ("named", "own", "ours"))
    assert lab.errors() == 1


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, BaseException])
def test_whatever_a_coroutine_raises_is_answered_and_counted(
    session_bus: Daemon, error: type[BaseException]
) -> None:
    class Raising(Lab):
        @dbus_method
        async def Raise(self) -> None:
            await asyncio.sleep(0)
            raise error

    with running_task(Raising, *session_bus.argv) as task:
        with log_of(task.service) as log:
            assert f"org.sparts.Error.{error.__name__}: " in call(session_bus, "Raise", check=False)
        assert any(line.startswith("ERROR") for line in log.items)
        assert task.errors() == 1


def test_what_is_missing_is_named(session_bus: Daemon, lab: Lab) -> None:
    def send(path: str, method: str, *args: str) -> str:
        return session_bus.dbus_send(NAME, path, method, *args, check=False)

    assert "UnknownObject: There is no object at /nowhere" in send("/nowhere", f"{NAME}.Echo")
    assert f"UnknownInterface: {PATH} has no interface org.x.Y" in send(PATH, "org.x.Y.Z")
    assert f"UnknownMethod: {NAME} has no method Nothing" in send(PATH, f"{NAME}.Nothing")
    said = send(PATH, f"{NAME}.Divide", "string:7")
    assert f"InvalidArgs: {NAME}.Divide takes 'xx', not 's'." in said


def test_a_call_without_an_interface_finds_the_method(session_bus: Daemon, lab: Lab) -> None:
    async def ask() -> list[Any]:
        assert lab.bus is not None
        return await lab.bus.request(
            Message(NAME, PATH, None, "Divide", signature="xx", body=[7, 2])
        )

    assert lab.loop_task.call(ask).result(30) == [3, 1]


# -- file descriptors ------------------------------------------------------------------------------


def test_file_descriptors_are_closed_after_the_call(
    session_bus: Daemon, lab: Lab, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("content", encoding="utf-8")
    ours = lab.proxy(NAME, PATH, NAME)
    with open(tmp_path / "file", encoding="utf-8") as file:
        assert ours.ReadAll(file) == "content"
        file.seek(0)
        assert ours.ReadAll(file.fileno()) == "content"
    for fd in lab.kept:
        assert not (Path("/proc/self/fd") / str(fd)).exists() or os.readlink(
            f"/proc/self/fd/{fd}"
        ) != str(tmp_path / "file")


def test_file_descriptors_go_out_as_duplicates(session_bus: Daemon, lab: Lab) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for number in range(20):
        fd = lab.proxy(NAME, PATH, NAME).Open(f"number {number}")
        with open(fd, encoding="utf-8") as file:
            assert file.read() == f"number {number}"
    assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_end_of_call_leaves_other_descriptors_alone(session_bus: Daemon, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content", encoding="utf-8")

    class Slow(Lab):
        def initTask(self) -> None:
            super().initTask()
            self.began, self.first, self.second = (threading.Event() for _ in range(3))

        @dbus_method
        def Wait(self) -> None:
            self.began.set()
            self.first.wait(30)

        @dbus_method
        def ReadLater(self, fd: UnixFD) -> str:
            self.began.set()
            self.second.wait(30)
            return self.ReadAll(fd)

    with running_task(Slow, *session_bus.argv) as task:
        proxy = task.proxy(NAME, PATH, NAME)
        waits = proxy.submit("Wait")
        assert task.began.wait(30)
        task.began.clear()
        with open(tmp_path / "file", encoding="utf-8") as file:
            reads = proxy.submit("ReadLater", file)
            assert task.began.wait(30)
        task.first.set()
        waits.result(30)
        task.second.set()
        assert reads.result(30) == "content"


def test_late_descriptors_are_closed(session_bus: Daemon) -> None:
    class Late(Lab):
        release = threading.Event()

        @dbus_method
        def OpenLate(self) -> UnixFD:
            self.release.wait(30)
            return self.Open("late")

    with running(service_of(Late), *session_bus.argv) as service:
        proxy = service.requireTask(Late).proxy(NAME, PATH, NAME)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(8):
            with pytest.raises(CallTimeoutError):
                proxy.call("OpenLate", timeout=0.01)
        Late.release.set()
        for _ in range(8):  # in the threads behind those, and so in order
            os.close(proxy.OpenLate())
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_unpassable_descriptors_are_an_error(session_bus: Daemon, lab: Lab) -> None:
    class Without(Lab):
        BUS_NAME = "org.example.Without"
        OPT_PREFIX = "without"
        UNIX_FDS = False

    with running(service_of(Without), "--without-address", session_bus.address) as service:
        task = service.requireTask(Without)
        with pytest.raises(SpartsError, match="UNIX_FDS = True"):
            task.proxy(NAME, PATH, NAME).ReadAll(0)
        with pytest.raises(DBusError, match="UNIX_FDS = True"):
            lab.proxy("org.example.Without", "/org/example/Without").Open("x")


def test_service_passes_descriptors_only_on_demand(session_bus: Daemon) -> None:
    for kind, passes in ((Greeter, False), (Lab, True)):
        with running_task(kind, *session_bus.argv) as task:
            assert task.bus.passes_fds is passes  # type: ignore[union-attr]


# -- properties and signals ------------------------------------------------------------------------


def test_properties_are_read_and_set_by_clients(session_bus: Daemon, lab: Lab) -> None:
    bus = session_bus
    assert bus.busctl("get-property", NAME, PATH, NAME, "Level", "Serial") == 'd 1.5\ns "X1"'
    bus.busctl("set-property", NAME, PATH, NAME, "Level", "d", "2.5")
    assert lab.level == 2.5
    said = bus.gdbus(NAME, PATH, "org.freedesktop.DBus.Properties.GetAll", NAME)
    assert said == "({'Level': <2.5>, 'Serial': <'X1'>, 'Secret': <[int64 1, 2]>},)"


def test_unreadable_property_is_an_error_with_reason(session_bus: Daemon, lab: Lab) -> None:
    def set_property(name: str, value: str) -> str:
        return session_bus.gdbus(NAME, PATH, "org.freedesktop.DBus.Properties.Set", NAME, name,
                                 value, check=False)  # fmt: skip

    assert "PropertyReadOnly: Serial can only be read." in set_property("Serial", "<'x'>")
    assert "UnknownProperty" in set_property("Nothing", "<'x'>")
    assert "InvalidArgs: Level is 'd', not 's'." in set_property("Level", "<'x'>")
    assert "org.sparts.Error.ValueError: a level is not below 0" in set_property("Level", "<-1.0>")
    get = "org.freedesktop.DBus.Properties.GetAll"
    assert "UnknownInterface" in session_bus.gdbus(NAME, PATH, get, "org.x.Y", check=False)


def test_changed_property_reaches_client_and_python(session_bus: Daemon, lab: Lab) -> None:
    with Monitor(session_bus, "interface='org.freedesktop.DBus.Properties'") as monitor:
        lab.Level = 3.5
        seen = monitor.read_up_to("double 3.5")
        assert "member=PropertiesChanged" in seen
        assert f'string "{NAME}"' in seen
        session_bus.busctl("set-property", NAME, PATH, NAME, "Level", "d", "4.5")
        monitor.read_up_to("double 4.5")
        lab.properties_changed("Secret", "Serial")
        monitor.read_up_to('string "Secret"')
    with pytest.raises(KeyError, match="no property Nothing"):
        lab.properties_changed("Nothing")


def test_a_signal_is_sent_from_any_thread(session_bus: Daemon, lab: Lab) -> None:
    with Monitor(session_bus, f"interface='{NAME}'") as monitor:
        lab.Boiled(99.5, {"what": "tea", "list": [1, 2]})
        seen = monitor.read_up_to("double 99.5")
        assert "member=Boiled" in seen
        lab.loop_task.call(lab.Boiled, 100.5, {})
        monitor.read_up_to("double 100.5")


def test_misfit_signal_raises_where_it_is_sent(lab: Lab) -> None:
    with pytest.raises(TypeError, match=r"org\.example\.Lab\.Boiled is 'da\{sv\}'"):
        lab.Boiled("hot", {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="missing a required argument"):
        lab.Boiled(1.0)  # type: ignore[call-arg]


def test_a_signal_without_a_bus_is_no_error(session_bus: Daemon, lab: Lab) -> None:
    session_bus.kill()
    lab.Boiled(1.0, {})
    lab.Level = 9.0


# -- introspection and objects ---------------------------------------------------------------------


def test_introspection_tells_everything_with_the_docstrings(session_bus: Daemon, lab: Lab) -> None:
    xml = session_bus.introspect(NAME, PATH)
    for text in (
        'value="A laboratory."', 'value="Divide two whole numbers."', 'value="How full it is."',
        'value="Something has boiled."', '<interface name="org.example.Other">',
        '<property name="Level" type="d" access="readwrite">',
        '<property name="Serial" type="s" access="read">',
        'name="org.freedesktop.DBus.Property.EmitsChangedSignal" value="const"',
    ):  # fmt: skip
        assert text in xml
    assert session_bus.gdbus(NAME, PATH, "org.example.Other.renamed") == "()"
    assert session_bus.busctl("tree", "--list", NAME).splitlines() == [
        "/", "/Service", "/Service/fb303", "/Service/sparts", "/org", "/org/example", PATH,
    ]  # fmt: skip


class Sample(DBusObject):
    """A sample of the laboratory."""

    INTERFACE = "org.example.Lab.Sample"

    def __init__(self, name: str) -> None:
        self._name = name

    @dbus_property
    def Name(self) -> str:
        return self._name

    @dbus_signal
    def Moved(self, to: str) -> None: ...


def test_objects_come_and_go_and_object_manager_tells(session_bus: Daemon, lab: Lab) -> None:
    manager = "org.freedesktop.DBus.ObjectManager"
    sample = Sample("one")
    with Monitor(session_bus, f"path_namespace='{PATH}'") as monitor:
        lab.export(f"{PATH}/samples/1", sample)
        seen = monitor.read_up_to('string "one"')
        assert "member=InterfacesAdded" in seen
        assert f"path={PATH};" in seen
        said = session_bus.gdbus(NAME, PATH, f"{manager}.GetManagedObjects")
        expected = "{'org.example.Lab.Sample': {'Name': <'one'>}}"
        assert said == f"({{objectpath '{PATH}/samples/1': {expected}}},)"
        sample.Moved("the shelf")
        assert f"path={PATH}/samples/1;" in monitor.read_up_to('string "the shelf"')
        lab.unexport(f"{PATH}/samples/1")
        monitor.read_up_to("member=InterfacesRemoved")
    said = session_bus.gdbus(NAME, PATH, f"{manager}.GetManagedObjects")
    assert said == "(@a{oa{sa{sv}}} {},)"
    sample.Moved("nowhere")
    with pytest.raises(KeyError, match="Nothing is exported"):
        lab.unexport(f"{PATH}/samples/1")


def test_impossible_export_is_an_error_with_reason(lab: Lab) -> None:
    lab.export("/one", Sample("one"))
    with pytest.raises(UsageError, match="Sample is at /one already"):
        lab.export("/one", Sample("two"))
    with pytest.raises(UsageError, match="is no object path"):
        lab.export("one", Sample("two"))
    standard = {"Properties": "GetAll", "Introspectable": "Introspect"}
    for interface, name in standard.items():

        def member(self: Any) -> str:
            return "mine"

        marked = dbus_method(name=name, interface=f"org.freedesktop.DBus.{interface}")(member)
        with pytest.raises(UsageError, match=f"{interface}.{name}, which sparts answers itself"):
            lab.export("/two", type("Own", (DBusObject,), {"member": marked})())
    assert "/two" not in lab.objects._objects


def test_exports_return_on_the_next_bus(session_bus: Daemon, lab: Lab) -> None:
    lab.export(f"{PATH}/samples/1", Sample("one"))
    session_bus.kill_under(lab.service)
    session_bus.start_for(lab.service)
    said = session_bus.busctl(
        "get-property", NAME, f"{PATH}/samples/1", "org.example.Lab.Sample", "Name"
    )
    assert said == 's "one"'


def test_plain_methods_are_limited_by_the_option(session_bus: Daemon) -> None:
    with pytest.raises(UsageError, match="--dbus-threads must be 1 or more"):
        make_service(Service, *session_bus.argv, "--dbus-threads", "0").startBG()

    class Waiting(Lab):
        def initTask(self) -> None:
            super().initTask()
            self.entered, self.release = threading.Semaphore(0), threading.Event()

        @dbus_method
        def Wait(self) -> None:
            self.entered.release()
            self.release.wait(30)

    with running_task(Waiting, *session_bus.argv, "--dbus-threads", "2") as task:
        proxy = task.proxy(NAME, PATH, NAME)
        futures = [proxy.submit("Wait") for _ in range(6)]
        for _ in range(2):
            assert task.entered.acquire(timeout=30)
        assert proxy.Divide(7, 2) == (3, 1)  # in the loop, where all of them have come by then
        assert not task.entered.acquire(blocking=False)
        task.release.set()
        for future in futures:
            future.result(30)


def test_system_exit_in_method_ends_service_in_order(session_bus: Daemon) -> None:
    class Leaving(Lab):
        @dbus_method
        def Leave(self) -> None:
            raise SystemExit(3)

    service = make_service(service_of(Leaving), *session_bus.argv)
    thread = service.startBG()
    call(session_bus, "Leave", check=False)
    thread.join(30)
    assert thread.status == 3
