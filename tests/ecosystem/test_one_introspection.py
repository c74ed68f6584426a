"""A service tells every transport the same: HTTP, fb303 over thrift, D-Bus, and the test kit.

It is the service of the soak: every kind of loop in one process, under load.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from dbus_fast import Variant
from sparts.tasks.dbus.service_object import shown
from sparts.testing import ServiceFactory, wait_for_event
from sparts.thrift.client import ThriftClient
from sparts.thrift.fb303 import FacebookService
from sparts.vservice import VService
from sparts.vtask import TaskReference, VTask

from soak.clients import Client, Http, http_clients
from soak.on_dbus import Bus, Caller, dbus_clients
from soak.on_thrift import Thrift, thrift_clients
from soak.service import Soaked
from soak.web import Status, Web
from tests.dbus.daemons import Daemon

pytestmark = [pytest.mark.needs("dbus"), pytest.mark.needs_module("gi")]
NUMBERS = {"DEAD": 0, "STARTING": 1, "ALIVE": 2, "STOPPING": 3, "STOPPED": 4, "WARNING": 5}


class Blocks(VTask):
    """Must stop before all others, and holds up the stop until the test lets it go."""

    LOOPLESS = True
    DEPS = (Web, Thrift, Status, Bus)

    def initTask(self) -> None:  # noqa: N802
        """Make the events."""
        self.told, self.go_on = threading.Event(), threading.Event()

    def stop(self) -> None:
        """Wait for the test."""
        super().stop()
        self.told.set()
        assert self.go_on.wait(60)


class Everything(Soaked):
    """Every kind of loop, every transport."""

    VERSION = "3.1"
    TASKS: ClassVar[list[TaskReference]] = [*Soaked.TASKS, Blocks]


class Transports:
    """Asks the service in every way that it offers."""

    def __init__(self, service: VService, bus: Daemon) -> None:
        self.service = service
        self._bus = Caller(bus.address)
        self._status = Http(service.requireTask("Status").bound_addrs[0][1])
        self._thrift = ThriftClient.for_localhost(
            service.requireTask("Thrift").bound_addrs[0][1],
            module=FacebookService,
            multiplex_service="FacebookService",
        )

    def status_json(self) -> dict[str, Any]:
        """Give what /status.json says; as D-Bus says it, which has no None."""
        found: dict[str, Any] = shown(json.loads(self._status.request("GET", "/status.json")))
        return found

    def test_kit(self) -> dict[str, Any]:
        """Give what the service says to who has it at hand."""
        found: dict[str, Any] = shown(self.service.stats.describe())
        return found

    def dbus(self, method: str, of: str = "sparts") -> Any:
        """Give what a method says over D-Bus."""
        interface = {"sparts": "org.sparts.Service", "fb303": "com.facebook.fb303.Service"}[of]
        return plain(self._bus.call(f"/{self.service.name}/{of}", interface, method, "")[0])

    def fb303(self, method: str) -> Any:
        """Give what a method of fb303 says over thrift."""
        return self._thrift.call(method)

    def status_endpoint(self, path: str) -> tuple[int, dict[str, Any]]:
        """Give the status and the body of a probe."""
        status, body = self._status.ask("GET", path)
        return status, json.loads(body)

    def close(self) -> None:
        """Close all connections."""
        self._status.close()
        self._thrift.close()


def plain(value: Any) -> Any:
    """Take the variants of D-Bus out of a value."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@pytest.fixture(autouse=True)
def glib_context() -> None:
    """Make the GLib context of the process: from its first use on it keeps a descriptor."""
    from gi.repository import GLib

    GLib.MainContext.default()


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A bus of the test's own."""
    with Daemon(tmp_path / "bus") as daemon:
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", daemon.address)
        yield daemon


@pytest.fixture
def transports(
    bus: Daemon, tmp_path: Path, service_factory: ServiceFactory
) -> Iterator[Transports]:
    """The service, running, and every way to ask it."""
    argv = ("--level", "ERROR", "--status-port", "0", "--folder-path", str(tmp_path))
    service = service_factory(Everything, *argv)
    service.setExportedValue("build", "abc123")
    found = Transports(service, bus)
    yield found
    service.requireTask(Blocks).go_on.set()
    found.close()


@pytest.fixture
def load(transports: Transports, bus: Daemon, tmp_path: Path) -> Iterator[list[Client]]:
    """Clients on every transport, at work."""
    service = transports.service
    port = {name: service.requireTask(name).bound_addrs[0][1] for name in ("Web", "Thrift")}
    clients = [
        *http_clients(port["Web"], tmp_path),
        *thrift_clients(port["Thrift"]),
        *dbus_clients(bus.address, port["Web"], lambda: False),
    ]
    for client in clients:
        client.start()
    yield clients
    for client in clients:
        client.end()
    for client in clients:
        client.close()


STAY = ("name", "version", "pid", "start_time", "options", "warnings", "exported_values", "plugins")
"""What does not change while the service is at work."""
GROWS = ("Items.n_completed", "Beat.beats", "Web.requests", "GLibBeat.beats")


def states(described: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Give what does not change of the tasks while the service is at work."""
    told = ("name", "state", "ready", "problem", "depends_on")
    return [tuple(task[key] for key in told) for task in described["tasks"]]


def test_every_transport_tells_the_same_under_load(
    transports: Transports, load: list[Client]
) -> None:
    service = transports.service
    for _ in range(3):
        before = transports.test_kit()
        told = {"HTTP": transports.status_json(), "D-Bus": transports.dbus("describe")}
        fb303: dict[str, Callable[[str], Any]] = {
            "thrift": transports.fb303,
            "D-Bus": lambda name: transports.dbus(name, "fb303"),
        }
        counters = {name: ask("getCounters") for name, ask in fb303.items()}
        after = transports.test_kit()
        for name, described in told.items():
            assert described.keys() == before.keys(), name
            assert {key: described[key] for key in STAY} == {key: before[key] for key in STAY}, name
            assert states(described) == states(before), name
            assert described["status"] == before["status"] == "ALIVE", name
            assert before["counters"].keys() <= described["counters"].keys(), name
            assert described["counters"].keys() <= after["counters"].keys(), name
        for name in GROWS:
            seen = [before, *told.values(), *({"counters": c} for c in counters.values()), after]
            numbers = [described["counters"][name] for described in seen]
            assert numbers == sorted(numbers), name
            assert numbers[-1] > 0 or name == "GLibBeat.beats"
        for name, ask in fb303.items():
            assert counters[name].keys() <= after["counters"].keys(), name
            assert ask("getName") == before["name"] == "Everything", name
            assert ask("getVersion") == before["version"] == "3.1", name
            number, word = NUMBERS[before["status"]], before["status"]
            assert ask("getStatus") == (word if name == "D-Bus" else number), name
            assert ask("getStatusDetails") == before["status_details"] == "", name
            assert ask("aliveSince") == int(before["start_time"]), name
            assert ask("getExportedValues") == before["exported_values"], name
            options = ask("getOptions")
            assert options.keys() == before["options"].keys(), name
            assert options["web_port"] == str(before["options"]["web_port"]), name
    assert transports.dbus("listTasks") == [task.name for task in service.getChildren().values()]
    assert transports.dbus("getWarnings") == {}
    assert [client.failures for client in load] == [[] for _ in load]


def test_every_transport_tells_of_a_warning(transports: Transports) -> None:
    number = transports.service.registerWarning("the disk is nearly full")
    described = [transports.test_kit(), transports.status_json(), transports.dbus("describe")]
    for told in described:
        assert (told["status"], told["status_details"]) == ("WARNING", "the disk is nearly full")
        assert told["warnings"] == {str(number): "the disk is nearly full"}
    assert transports.fb303("getStatus") == NUMBERS["WARNING"]
    assert transports.dbus("getStatus", "fb303") == "WARNING"
    for ask in (transports.fb303, lambda name: transports.dbus(name, "fb303")):
        assert ask("getStatusDetails") == "the disk is nearly full"


def test_every_transport_tells_of_stop_while_it_lasts(
    transports: Transports, load: list[Client]
) -> None:
    service = transports.service
    blocks: Blocks = service.requireTask(Blocks)
    service.shutdown()
    wait_for_event(blocks.told, "the stop", service)
    described = [transports.test_kit(), transports.status_json(), transports.dbus("describe")]
    for told in described:
        assert (told["status"], told["ready"]) == ("STOPPING", False)
        assert states(told) == states(described[0])
        assert ("Blocks", "STOPPING") in [task[:2] for task in states(told)]
        assert ("Web", "ALIVE") in [task[:2] for task in states(told)]
    assert transports.fb303("getStatus") == NUMBERS["STOPPING"]
    assert transports.dbus("getStatus", "fb303") == "STOPPING"
    assert transports.status_endpoint("/readyz")[0] == 503
    assert transports.status_endpoint("/livez")[0] == 200
    for client in load:
        client.end()
    assert [client.failures for client in load] == [[] for _ in load]
    blocks.go_on.set()
    assert service.join(60)
