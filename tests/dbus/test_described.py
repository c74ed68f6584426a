"""Introspection data of others, odd ones among them; and ours, whatever the docstrings hold."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from dbus_fast import Message, MessageType
from hypothesis import given
from hypothesis import strategies as st
from sparts.tasks.dbus import (
    DBusClientTask,
    DBusError,
    DBusObject,
    DBusServiceTask,
    dbus_method,
    dbus_property,
)
from sparts.tasks.dbus.bus import Bus
from sparts.tasks.dbus.described import read_description
from sparts.tasks.dbus.markup import readable
from sparts.testing.running import running, running_task, service_of
from sparts.testing.waiting import log_of

from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

NAME, PATH = "org.example.Strange", "/org/example/Strange"
DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">'
)
GOOD = '<method name="Good"><arg type="s" direction="in"/><arg type="s" direction="out"/></method>'
ODD = [
    '<method name="Empty"><arg type="" direction="in"/></method>',
    '<method name="Untyped"><arg direction="in"/></method>',
    '<method name="Two"><arg type="ss"/></method>',
    '<method name="Entry"><arg type="{sv}"/></method>',
    f'<method name="Deep"><arg type="{"a" * 40}s"/></method>',
    '<method name="Around"><arg type="s" direction="inout"/></method>',
    '<method name="2bad"/>',
    '<method name="with-dash"/>',
    "<method/>",
    f'<method name="{"L" * 300}"/>',
    '<signal name="2bad"><arg type="ss"/></signal>',
    '<property name="Two" type="ss" access="read"/>',
    '<property name="Untyped" access="read"/>',
    '<property type="s" access="read"/>',
    "<annotation/>",
    '<annotation name="only"/>',
    "<unknown><method name='Inside'/></unknown>",
    '<method name="Noted"><annotation value="x"/></method>',
]
OTHERS = [
    f'<interface name="nodots">{GOOD}</interface>',
    f"<interface>{GOOD}</interface>",
    f'<interface name="org.example.2bad">{GOOD}</interface>',
    '<node name="/absolute"/>',
    '<node name=""/>',
    "<node/>",
    f'<node name="deep">{"<node>" * 200}{"</node>" * 200}</node>',
    f'<node name="child"><interface name="{NAME}"><method name="Child"/></interface></node>',
]


def described(*members: str, around: tuple[str, ...] = ()) -> str:
    """Return introspection data of an object with `Good` and other things."""
    own = f'<interface name="{NAME}">{"".join(members)}{GOOD}<property name="Level" type="d"/>'
    return f"{DOCTYPE}<node>{''.join(around)}{own}</interface></node>"


@pytest.mark.parametrize("odd", [*ODD, *OTHERS])
def test_odd_entry_is_left_out(odd: str) -> None:
    xml = described(odd) if odd in ODD else described(around=(odd,))
    found = {interface.name: interface for interface in read_description(xml, lambda _: None)}
    assert list(found) == [NAME]
    methods = set(found[NAME].methods)
    assert methods - {"Noted"} == {"Good"}
    assert found[NAME].methods["Good"] == "s"
    assert found[NAME].properties == {"Level": "d"}


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "no XML",
        "<node>",
        '<!DOCTYPE node [<!ENTITY a "aaaa">]><node>&a;</node>',
        '<!DOCTYPE node [<!ATTLIST node name CDATA "x">]><node/>',
        "<node>&unknown;</node>",
    ],
)
def test_what_is_no_description_is_a_named_error(xml: str) -> None:
    with pytest.raises(DBusError, match="cannot be read") as caught:
        read_description(xml, lambda _: None)
    assert caught.value.type == "org.sparts.Error.Introspection"


@given(st.text())
def test_any_text_becomes_text_that_xml_can_hold(text: str) -> None:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    note = f'<annotation name="doc" value="{escaped}"/>'
    assert len(read_description(described(note), lambda _: None)) == 1
    numbers = "".join(f"&#{ord(letter)};&#x{ord(letter):x};" for letter in text)
    note = f'<annotation name="doc" value="{numbers}"/>'
    assert len(read_description(described(note), lambda _: None)) == 1


def test_references_that_xml_has_stay_as_they_are() -> None:
    assert readable("&#65;&#x1F600;&amp;") == "&#65;&#x1F600;&amp;"
    assert readable("&#1;&#x0;&#xD800;&#99999999999999;\x01") == "\N{REPLACEMENT CHARACTER}" * 5


class Strange(DBusServiceTask):
    """Describes itself by odd data."""

    BUS_NAME = NAME
    xml = ""
    odd: tuple[str, str, list[Any]] = ("", "", [])
    """A method of Properties, and what it answers."""

    @dbus_method
    async def Good(self, text: str) -> str:
        return text

    @dbus_property
    def Level(self) -> float:
        return 1.5

    def on_message(self, bus: Bus, message: Message) -> bool:
        if message.member == self.odd[0] and message.message_type is MessageType.METHOD_CALL:
            bus.send_quietly(Message.new_method_return(message, *self.odd[1:]))
            return True
        if message.member != "Introspect" or message.message_type is not MessageType.METHOD_CALL:
            return super().on_message(bus, message)
        bus.send_quietly(Message.new_method_return(message, "s", [self.xml]))
        return True


def test_proxy_works_although_everything_else_is_odd(
    session_bus: Daemon, client: DBusClientTask
) -> None:
    with running(service_of(Strange), *session_bus.argv) as service:
        service.requireTask(Strange).xml = described(*ODD, around=tuple(OTHERS))
        proxy = client.proxy(NAME, PATH)
        with log_of(client.service, level=logging.DEBUG) as log:
            assert proxy.Good("text") == "text"
        assert any("'2bad' is no name of a method" in line for line in log.items)
        assert proxy.get("Level") == 1.5
        assert proxy.get_all() == {"Level": 1.5}
        service.requireTask(Strange).xml = "no XML"
        again = client.proxy(NAME, PATH)
        with pytest.raises(DBusError, match="cannot be read"):
            again.Good("text")
        assert again.call("Good", "text", signature="s") == "text"


@pytest.mark.parametrize(("methods", "aside"), [(1, False), (5000, True)])
def test_long_description_is_read_beside_the_loop(
    methods: int,
    aside: bool,
    session_bus: Daemon,
    client: DBusClientTask,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with running_task(Strange, *session_bus.argv) as strange:
        strange.xml = described(*(f'<method name="{number}"/>' for number in range(methods)))
        with caplog.at_level(logging.DEBUG):
            assert client.proxy(NAME, PATH).Good("text") == "text"
    threads = {each.threadName for each in caplog.records if "is no name of" in each.getMessage()}
    loop = {thread.name for thread in client.loop_task.threads}
    assert (threads != loop) == aside


@pytest.mark.parametrize(
    "odd",
    [
        ("Get", "", []),
        ("Get", "s", ["it"]),
        ("GetAll", "", []),
        ("GetAll", "s", ["it"]),
        ("GetAll", "a{ss}", [{"Level": "it"}]),
    ],
)
def test_odd_answer_of_properties_is_a_named_error(
    odd: tuple[str, str, list[Any]], session_bus: Daemon, client: DBusClientTask
) -> None:
    with running_task(Strange, *session_bus.argv) as strange:
        strange.odd = odd
        proxy = client.proxy(NAME, PATH, NAME)
        with pytest.raises(DBusError, match=f"{odd[0]} .* answers {odd[1]!r}, not 'a?") as caught:
            proxy.get("Level") if odd[0] == "Get" else proxy.get_all()
        assert caught.value.type == "org.freedesktop.DBus.Error.InvalidSignature"
        assert client.connected


class Noted(DBusServiceTask):
    BUS_NAME = NAME

    @dbus_method
    def Ring(self) -> str:
        return "rung"


Noted.__doc__ = "A\0 bell\a,\x1b[1m \udce9 \ufffe and ünicode"
Noted.Ring.__doc__ = "\x01Ring\x02"


def test_docstrings_with_control_characters_are_readable(
    session_bus: Daemon, client: DBusClientTask
) -> None:
    with running(service_of(Noted), *session_bus.argv):
        assert client.proxy(NAME, PATH).Ring() == "rung"
        assert "and ünicode" in session_bus.introspect(NAME, PATH)


# -- properties that cannot be read ----------------------------------------------------------------


class Gauge(DBusObject):
    INTERFACE = "org.example.Gauge"

    @dbus_property
    def Good(self) -> float:
        return 1.5

    @dbus_property
    def Raising(self) -> float:
        raise OSError("the gauge is broken")

    @dbus_property
    def Cancelled(self) -> float:
        raise asyncio.CancelledError

    @dbus_property
    def Wrong(self) -> str:
        return 7  # type: ignore[return-value]

    @dbus_property
    def Deep(self) -> Any:
        value: Any = 1
        for _ in range(40):
            value = {"k": value}
        return value

    @dbus_property
    def Written(self) -> float:
        raise OSError("written only")

    @Written.setter
    def Written(self, value: float) -> None:
        self.written = value


class Gauges(DBusServiceTask):
    BUS_NAME = NAME


def test_property_that_cannot_be_read_hides_no_other(
    session_bus: Daemon, client: DBusClientTask
) -> None:
    path, interface = f"{PATH}/gauge", "org.example.Gauge"
    with running(service_of(Gauges), *session_bus.argv) as service:
        task, gauge = service.requireTask(Gauges), Gauge()
        with log_of(service) as log:
            task.export(path, gauge)
        assert len([line for line in log.items if "cannot be read" in line]) == 5
        proxy = client.proxy(NAME, path, interface)
        assert proxy.get_all() == {"Good": 1.5}
        manager = client.proxy(NAME, PATH, "org.freedesktop.DBus.ObjectManager")
        assert manager.GetManagedObjects() == {path: {interface: {"Good": 1.5}}}
        with pytest.raises(DBusError, match="the gauge is broken"):
            proxy.get("Raising")
        proxy.set("Written", 2.5)
        assert gauge.written == 2.5
        heard = client.proxy(NAME, path, interface).get("Good")
        assert heard == 1.5


def test_export_that_raises_exports_nothing(session_bus: Daemon, client: DBusClientTask) -> None:
    class Untyped(DBusObject):
        INTERFACE = "org.example.Untyped"

        @dbus_method
        def Take(self, what) -> None:  # type: ignore[no-untyped-def]
            ...

    class Lost(Gauge):
        @dbus_property
        def Raising(self) -> float:
            raise SystemExit(3)

    with running_task(Gauges, *session_bus.argv) as task:
        before = task.objects._objects
        for thing in (Untyped(), Lost()):
            with pytest.raises((Exception, SystemExit)):
                task.export(f"{PATH}/thing", thing)
            assert thing._exports == ()
        assert task.objects._objects == before
        with pytest.raises(DBusError, match="There is no object"):
            client.proxy(NAME, f"{PATH}/thing", "org.example.Gauge").get("Good")
