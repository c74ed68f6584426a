"""RPC over D-Bus: gdbus, busctl, introspection, and what D-Bus cannot carry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sparts.rpc import NoSuchMethodError, RPCTask, UnavailableError, connect, rpc
from sparts.rpc.command import main as rpc_command
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.testing.rpc.kit import Kit
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import no_further_threads

from tests.dbus.daemons import Daemon
from tests.rpc.odd import OddTask

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin", "systemd")
NAME = "org.example.Odd-1"
PATH, INTERFACE = "/org/example/Odd_1", "org.example.Odd_1"


@pytest.fixture(scope="module")
def bus(factory: ServiceFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("bus")) as daemon:
        argv = ("--rpc-dbus-address", daemon.address, "--rpc-dbus-bus-name", NAME)
        service = factory(service_of(OddTask, Kit, RPCDBusTask), *argv)
        yield daemon
        factory.stop(service)


def gdbus(bus: Daemon, method: str, *args: str, check: bool = True) -> str:
    return bus.gdbus(NAME, f"{PATH}/Kit", f"{INTERFACE}.Kit.{method}", *args, check=check)


@pytest.mark.parametrize(
    ("method", "args", "printed"),
    [
        ("nothing", (), "()"),
        ("distance", ("(0.0, 0.0)", "(3.0, 4.0)", "2.0"), "(10.0,)"),
        ("echo_str", ("Grüße",), "('Grüße',)"),
        ("echo_maybe", ("@as []",), "(@as [],)"),
        ("echo_maybe", ("['a']",), "(['a'],)"),
        ("echo_shape", ("('Circle', <((1.0, 2.0), 3.0)>)",), "(('Circle', <((1.0, 2.0), 3.0)>),)"),
        ("echo_options", ("{'depth': <int64 5>}",), "({'depth': <int64 5>},)"),
        ("echo_tree", ("('a', [<('b', @av [], @a(sv) [])>], @a(sv) [])",), "(('a', [<('b', @av []"),
        ("colour", ("red",), "('red',)"),
        ("count", ("3",), "([int64 0, 1, 2],)"),
    ],
)
def test_gdbus_calls_methods(bus: Daemon, method: str, args: tuple[str, ...], printed: str) -> None:
    assert gdbus(bus, method, *args).startswith(printed)


def test_list_prints_the_methods_of_a_name(bus: Daemon, capsys: pytest.CaptureFixture[str]) -> None:
    assert rpc_command(["list", f"dbus:{NAME}?bus={bus.address}"]) == 0
    assert {"Kit.distance", "Kit.count"} <= set(capsys.readouterr().out.split())
    with pytest.raises(UnavailableError, match=r"org\.example\.None"):
        rpc_command(["list", f"dbus:org.example.None?bus={bus.address}"])


def test_gdbus_gets_errors_by_name(bus: Daemon) -> None:
    assert "org.sparts.Error.TooFar: too far: far" in gdbus(bus, "fail", "far", check=False)
    internal = gdbus(bus, "fail", "other", check=False)
    assert "org.sparts.Error.InternalError: internal error" in internal
    assert "secret" not in internal
    wrong = gdbus(bus, "colour", "blue", check=False)
    assert "DBus.Error.InvalidArgs: value: invalid enum value 'blue'" in wrong


def test_busctl_calls_methods_and_leaves_out_defaults(bus: Daemon) -> None:
    call = ("call", NAME, f"{PATH}/Kit", f"{INTERFACE}.Kit", "distance")
    assert bus.busctl(*call, "(dd)(dd)d", "0", "0", "3", "4", "2") == "d 10"
    assert bus.busctl(*call, "(dd)(dd)", "0", "0", "3", "4") == "d 5"
    assert f"{PATH}/OddTask" in bus.busctl("tree", "--list", NAME)


def test_introspection_has_types_names_and_docs(bus: Daemon) -> None:
    xml = bus.introspect(NAME, f"{PATH}/Kit")
    assert f'<interface name="{INTERFACE}.Kit">' in xml
    assert re.search(r'<arg (?=[^>]*name="a")[^>]*type="\(dd\)"', xml)
    assert "Return the distance of two points." in xml
    assert "a{sv}" in xml
    assert "The methods that the contract calls." in xml


class Other(RPCTask):
    @rpc
    def run(self) -> None: ...


def test_unknown_tasks_have_no_methods(bus: Daemon) -> None:
    url = f"dbus:{NAME}?bus={bus.address}"
    with connect(url, Other) as other, pytest.raises(NoSuchMethodError, match="no object"):
        other.run()


def test_a_lost_bus_is_connected_again(factory: ServiceFactory, tmp_path: Path) -> None:
    with Daemon(tmp_path / "lost") as daemon:
        argv = ("--rpc-dbus-address", daemon.address)
        service = factory(service_of(OddTask, RPCDBusTask), *argv)
        with connect(f"dbus:org.sparts.rpc.Service?bus={daemon.address}", OddTask) as odd:
            assert odd.total(iter([1])) == 1
            daemon.restart()
            daemon.wait_for_name("org.sparts.rpc.Service")
            assert odd.total(iter([2])) == 2
        factory.stop(service)


def test_client_that_got_no_thread_tries_again(bus: Daemon) -> None:
    with connect(f"dbus:{NAME}?bus={bus.address}", Kit) as kit:
        with no_further_threads(), pytest.raises(UnavailableError, match="can't start new thread"):
            kit.nothing()
        assert kit.nothing() is None
