"""The service itself on the bus; test_control.py: who may change something on a system bus."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.hookspecs import hookimpl
from sparts.options import option
from sparts.testing.running import make_service, running
from sparts.testing.waiting import wait_ended
from sparts.vservice import VService

from tests.dbus.daemons import Daemon, Monitor

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin", "systemd")

NAME = "org.sparts.Station"
SPARTS, FB303 = "org.sparts.Service", "com.facebook.fb303.Service"


class Station(VService):
    VERSION = "1.2"
    TASKS = ["DBusServiceTask"]
    volume = option(type=int, default=3, help="how loud")
    password = option(default="hunter2", secret=True, help="a secret")


def ask(bus: Daemon, method: str, *args: str, check: bool = True) -> str:
    return bus.gdbus(NAME, "/Station/sparts", f"{SPARTS}.{method}", *args, check=check)


def ask_fb303(bus: Daemon, method: str, *args: str, check: bool = True) -> str:
    return bus.gdbus(NAME, "/Station/fb303", f"{FB303}.{method}", *args, check=check)


def busctl(bus: Daemon, method: str) -> Any:
    return json.loads(bus.busctl("--json=short", "call", NAME, "/Station/sparts", SPARTS, method))


@pytest.fixture
def station(session_bus: Daemon) -> Iterator[Station]:
    with running(Station, *session_bus.argv) as service:
        yield service


@pytest.fixture
def open_station(session_bus: Daemon) -> Iterator[Station]:
    with running(Station, *session_bus.argv, "--dbus-control") as service:
        yield service


def test_service_tells_of_itself_without_line_of_code(
    session_bus: Daemon, station: Station
) -> None:
    properties = session_bus.gdbus(
        NAME, "/Station/sparts", "org.freedesktop.DBus.Properties.GetAll", SPARTS
    )
    for text in ("'Name': <'Station'>", "'Version': <'1.2'>", "'Status': <'ALIVE'>",
                 "'StatusDetails': <''>", "'Ready': <true>"):  # fmt: skip
        assert text in properties
    seen = station.requireTask("DBusServiceTask").proxy(NAME, "/Station/sparts", SPARTS)
    assert seen.get("StartTime") == station.start_time
    assert ask(session_bus, "listTasks") == "(['DBusMainLoopTask', 'DBusServiceTask'],)"
    assert ask(session_bus, "uptime").startswith("(int64 ")
    assert "('volume'" not in ask(session_bus, "listOptions")
    assert "'volume'" in ask(session_bus, "listOptions")
    tasks = busctl(session_bus, "getTasks")["data"][0]
    assert [task["name"]["data"] for task in tasks] == ["DBusMainLoopTask", "DBusServiceTask"]
    assert [task["state"]["data"] for task in tasks] == ["ALIVE", "ALIVE"]


def test_options_are_told_and_secrets_are_not(session_bus: Daemon, station: Station) -> None:
    assert ask(session_bus, "getOption", "volume") == "(<int64 3>,)"
    assert ask(session_bus, "getOption", "dbus-threads") == "(<int64 8>,)"
    assert ask(session_bus, "getOption", "logfile") == "(<''>,)"
    assert "org.sparts.Error.NotFound: No option is named 'nothing'" in ask(
        session_bus, "getOption", "nothing", check=False
    )
    for told in (ask(session_bus, "getOptions"), ask(session_bus, "getOption", "password"),
                 ask(session_bus, "describe"), ask_fb303(session_bus, "getOptions"),
                 ask_fb303(session_bus, "getOption", "password")):  # fmt: skip
        assert "hunter2" not in told


def test_counters_values_and_health_are_the_services(session_bus: Daemon, station: Station) -> None:
    station.setExportedValue("colour", "green")
    number = station.registerWarning("The tea is cold.")
    assert ask(session_bus, "getWarnings") == f"({{int64 {number}: 'The tea is cold.'}},)"
    assert ask(session_bus, "getExportedValues") == "({'colour': 'green'},)"
    assert ask(session_bus, "getExportedValue", "colour") == "('green',)"
    counter = float(ask(session_bus, "getCounter", "DBusServiceTask.calls").strip("(),"))
    assert counter > 1
    assert "'DBusServiceTask.errors': 0.0" in ask(session_bus, "getCounters")
    assert "NotFound" in ask(session_bus, "getCounter", "nothing", check=False)
    assert ask(session_bus, "getHealth").startswith("(true, true, {")
    described = busctl(session_bus, "describe")["data"][0]
    assert described["status"]["data"] == "WARNING"
    assert described["version"]["data"] == station.VERSION
    assert described["uptime"]["data"] > 0


def test_changes_are_signalled(session_bus: Daemon, station: Station) -> None:
    with Monitor(session_bus, "path='/Station/sparts'") as monitor:
        station.registerWarning("The tea is cold.")
        seen = monitor.read_up_to('variant             string "WARNING"')
        assert "member=StatusChanged" in seen
        assert seen.index('string "ALIVE"') < seen.index('string "WARNING"')
        assert "member=PropertiesChanged" in seen
        station.shutdown()
        seen = monitor.read_up_to('string "DBusServiceTask"')
        assert 'string "STOPPING"' in seen
        assert "member=TaskChanged" in seen
        assert "member=PropertiesChanged" in monitor.read_up_to("member=")


def test_whether_it_is_ready_is_told_with_status(session_bus: Daemon, station: Station) -> None:
    with running(Station, *session_bus.argv, "--dbus-queue") as second:
        task = second.requireTask("DBusServiceTask")
        with Monitor(session_bus, f"sender='{task.unique_name}',path='/Station/sparts'") as monitor:
            station.shutdown()
            assert "member=StatusChanged" in monitor.read_up_to('string "ALIVE"')
            assert "member=PropertiesChanged" in monitor.read_up_to('string "Ready"')


def test_fb303_is_there_without_thrift(session_bus: Daemon, station: Station) -> None:
    program = "import sparts.tasks.dbus.service_object, sys; print('thrift' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
    station.setExportedValue("colour", "green")
    bus = session_bus
    assert ask_fb303(bus, "getName") == "('Station',)"
    assert ask_fb303(bus, "getVersion") == "('1.2',)"
    assert ask_fb303(bus, "getStatus") == "('ALIVE',)"
    assert ask_fb303(bus, "getStatusDetails") == "('',)"
    assert ask_fb303(bus, "aliveSince") == f"(int64 {int(station.start_time)},)"
    assert "'DBusServiceTask.errors': 0" in ask_fb303(bus, "getRegexCounters", ".*errors")
    assert ask_fb303(bus, "getRegexCounters", r"([\w.]+)+-") == "(@a{sx} {},)"
    assert ask_fb303(bus, "getSelectedCounters", "['DBusServiceTask.errors', 'x']") == (
        "({'DBusServiceTask.errors': int64 0},)"
    )
    assert ask_fb303(bus, "getCounter", "nothing") == "(int64 0,)"
    assert "'DBusServiceTask.calls'" in ask_fb303(bus, "getCounters")
    assert ask_fb303(bus, "getExportedValues") == "({'colour': 'green'},)"
    assert ask_fb303(bus, "getExportedValue", "colour") == "('green',)"
    assert ask_fb303(bus, "getSelectedExportedValues", "['colour']") == "({'colour': 'green'},)"
    assert ask_fb303(bus, "getRegexExportedValues", "col") == "({'colour': 'green'},)"
    assert ask_fb303(bus, "getOption", "volume") == "('3',)"
    assert "is not a regular expression" in ask_fb303(bus, "getRegexCounters", "(", check=False)
    assert "1 to 600 seconds" in ask_fb303(bus, "getCpuProfile", "0", check=False)


# -- control ---------------------------------------------------------------------------------------

CONTROLS = [
    ("setOption", "volume", "<5>"), ("clearWarning", "1"), ("clearWarnings",), ("reload",),
    ("restart",), ("shutdown",),
]  # fmt: skip


def test_nothing_is_changed_on_session_bus_without_option(
    session_bus: Daemon, station: Station
) -> None:
    for method, *args in CONTROLS:
        said = ask(session_bus, method, *args, check=False)
        assert "AccessDenied" in said
        assert "--dbus-control" in said
    for method, *args in (("setOption", "volume", "5"), ("reinitialize",), ("shutdown",)):
        assert "AccessDenied" in ask_fb303(session_bus, method, *args, check=False)
    assert station.volume == 3
    assert not station.health.ended.is_set()


def test_bus_by_its_address_is_no_system_bus(session_bus: Daemon) -> None:
    with running(Station, *session_bus.argv, "--dbus-system-bus") as service:
        said = ask(session_bus, "setOption", "volume", "<5>", check=False)
        assert "AccessDenied: setOption is not allowed here" in said
        assert service.getOption("volume") == 3


def test_with_the_option_clients_change_options_and_warnings(
    session_bus: Daemon, open_station: Station
) -> None:
    station, bus = open_station, session_bus
    ask(bus, "setOption", "volume", "<5>")
    assert station.volume == 5
    ask(bus, "setOption", "volume", "<'7'>")
    assert station.volume == 7
    ask_fb303(bus, "setOption", "volume", "9")
    assert station.volume == 9
    said = ask(bus, "setOption", "volume", "<'loud'>", check=False)
    assert "org.sparts.Error.OptionError" in said
    assert "whole number" in said
    number = station.registerWarning("The tea is cold.")
    assert ask(bus, "clearWarning", str(number)) == "(true,)"
    assert ask(bus, "clearWarning", str(number)) == "(false,)"
    station.registerWarning("The tea is cold.")
    ask(bus, "clearWarnings")
    assert not station.getWarnings()


def test_with_option_clients_reload_restart_and_end_service(session_bus: Daemon) -> None:
    reloaded = threading.Event()

    class Reloading(Station):
        def initService(self) -> None:  # noqa: N802
            self.hooks.register(self)

        @hookimpl
        def sparts_service_reload(self) -> None:
            reloaded.set()

    Reloading.__name__ = "Station"
    service = make_service(Reloading, *session_bus.argv, "--dbus-control")
    thread = service.startBG()
    ask(session_bus, "reload")
    assert reloaded.wait(30)
    ask_fb303(session_bus, "reinitialize")  # a restart, as in sparts 0.7
    assert wait_ended(service) is None
    session_bus.wait_for_name(NAME)
    successor = thread.service
    ask(session_bus, "restart")
    assert wait_ended(successor) is None
    session_bus.wait_for_name(NAME)
    ask(session_bus, "shutdown")
    thread.join(30)
    assert not thread.is_alive()
    assert thread.status == 0
