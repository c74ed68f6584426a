"""Subscriptions that a bus refuses: an error at once, and nothing of them is kept."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sparts.states import ServiceStatus
from sparts.tasks.dbus import DBusClientTask, DBusError, DBusServiceTask, dbus_method, dbus_signal
from sparts.testing.running import running, running_task, service_of
from sparts.testing.waiting import Recorder, log_of, wait_status
from sparts.vservice import VService

from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

NAME, PATH = "org.example.Clock", "/org/example/Clock"


class Clock(DBusServiceTask):
    BUS_NAME = NAME
    RETRY_AFTER = RETRY_MAX_WAIT = 0.01

    @dbus_method
    def Strike(self, hour: int) -> None:
        self.Struck(hour)

    @dbus_signal
    def Struck(self, hour: int) -> None: ...


class Client(DBusClientTask):
    RETRY_AFTER = RETRY_MAX_WAIT = 0.01


@contextmanager
def clock_on(bus: Daemon) -> Iterator[tuple[VService, Client, Recorder[int]]]:
    """Run a clock and a client that hears it strike; give the service of the one, and the other."""
    with (
        running(service_of(Clock), *bus.argv) as clock,
        running_task(Client, "--dbus-client-address", bus.address) as client,
    ):
        heard = Recorder[int]()
        client.proxy(NAME, PATH).on("Struck", heard)
        yield clock, client, heard


def refused(client: DBusClientTask) -> list[tuple[str, Any]]:
    """Return subscriptions that a bus would refuse, as functions, with what is wrong."""
    quiet = print
    return [
        ("object path", lambda: client.proxy(NAME, "/a-b").on("Struck", quiet)),
        ("object path", lambda: client.proxy(NAME, "a").on("Struck", quiet)),
        ("object path", lambda: client.proxy(NAME, "/a\n").on(None, quiet)),
        ("name on a bus", lambda: client.proxy("nodots", PATH).on("Struck", quiet)),
        ("name on a bus", lambda: client.proxy(NAME + "'", PATH).on("Struck", quiet)),
        ("name of a signal", lambda: client.proxy(NAME, PATH).on("a-b", quiet)),
        ("name of a signal", lambda: client.proxy(NAME, PATH).on("a',sender='b", quiet)),
        ("name of an interface", lambda: client.proxy(NAME, PATH).on("S", quiet, "nodots")),
        ("name on a bus", lambda: client.watch_name("no name", quiet)),
        ("name on a bus", lambda: client.watch_name("", quiet)),
    ]


def test_refused_subscription_is_error_and_is_not_kept(session_bus: Daemon) -> None:
    with clock_on(session_bus) as (clock, client, heard):
        for what, subscribe in refused(client):
            with pytest.raises(TypeError, match=f"is no {what}"):
                subscribe()
            with pytest.raises(TypeError, match=f"is no {what}"):
                client.loop_task.call(subscribe).result(30)
        session_bus.kill_under(client.service, clock)
        session_bus.start_for(client.service, clock)
        client.proxy(NAME, PATH).Strike(12)
        assert heard.wait(1) == [12]


def test_subscription_beyond_limit_of_bus_is_not_kept(tmp_path: Path) -> None:
    limit = '<limit name="max_match_rules_per_connection">3</limit>'
    with Daemon(tmp_path / "small", more=limit) as small, clock_on(small) as found:
        clock, client, heard = found
        proxy = client.proxy(NAME, PATH)
        kept = dict(client._watches._counts)
        proxy.on("Ticked", print)
        with pytest.raises(DBusError, match="not allowed to add more match rules"):
            client.proxy(NAME, PATH, NAME).on("Struck", print)
        kinds = [s.what for s in client._watches._signals if s.react is print]
        assert [getattr(what, "member", None) for what in kinds] == ["Ticked"]
        for subscription in [s for s in client._watches._signals if s.react is print]:
            client.loop_task.call(client._watches.remove, subscription).result(30)
        client.loop_task.call(int).result(30)
        assert client._watches._counts == kept
        small.kill_under(client.service, clock)
        small.start_for(client.service, clock)
        proxy.Strike(1)
        assert heard.wait(1) == [1]


def test_refused_rule_keeps_no_other_from_working(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with Daemon(folder) as bus, clock_on(bus) as (clock, client, heard):
        proxy, service = client.proxy(NAME, PATH), client.service
        for number in range(4):
            proxy.on(f"Signal{number}", print)
        bus.kill_under(service, clock)
        config = folder / "bus.conf"
        limit = '<limit name="max_match_rules_per_connection">3</limit></busconfig>'
        config.write_text(config.read_text().replace("</busconfig>", limit))
        with log_of(service) as log:
            bus.start_for(service)
        assert [line for line in log.items if "The bus refuses type='signal'" in line]
        wait_status(clock, ServiceStatus.ALIVE)
        proxy.Strike(1)
        assert heard.wait(1) == [1]
