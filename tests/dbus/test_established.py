"""What services of sparts 0.7 set, override and ask on D-Bus."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import re
from typing import Any

import pytest
from sparts.errors import UsageError
from sparts.options import option
from sparts.states import ServiceStatus
from sparts.tasks.dbus import (
    BusError,
    DBusClientTask,
    DBusMainLoopTask,
    DBusServiceTask,
    VServiceDBusObject,
    dbus_method,
)
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import VService

from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

NAME = "org.example.Before"
SPARTS, FB303, MORE = "org.sparts.Service", "com.facebook.fb303.Service", "org.sparts.FB303Service"


class Before(DBusServiceTask):
    BUS_NAME = NAME


class Service(VService):
    TASKS = [DBusMainLoopTask, Before]
    VERSION = "0.7"
    colour = option(default="green")


# -- the system bus --------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [DBusServiceTask, DBusClientTask])
def test_use_system_bus_never_ends_on_session_bus(
    session_bus: Daemon, system_bus: Daemon, monkeypatch: pytest.MonkeyPatch, base: Any
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", session_bus.address)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", system_bus.address)
    task = type("OnSystem", (base,), {"BUS_NAME": NAME, "USE_SYSTEM_BUS": True})
    service = make_service(service_of(task))
    assert service.tasks.require("OnSystem")(service).bus_address() == system_bus.address
    if base is DBusClientTask:
        with running(service_of(task)) as found:
            names = found.requireTask("OnSystem").proxy(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"
            )
            assert names.call("GetId", signature="") in system_bus.gdbus(
                "org.freedesktop.DBus", "/", "org.freedesktop.DBus.GetId"
            )
        return
    with pytest.raises(BusError, match="The system bus does not let this user own"):
        make_service(service_of(task)).startBG()


def test_missing_system_bus_is_not_replaced_by_sessions(
    session_bus: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", session_bus.address)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/bus")
    task = type("OnSystem", (DBusServiceTask,), {"BUS_NAME": NAME, "USE_SYSTEM_BUS": True})
    with pytest.raises(BusError, match="There is no bus at unix:path=/nowhere/bus"):
        make_service(service_of(task)).startBG()


# -- the object of the service ---------------------------------------------------------------------


class Shown(VServiceDBusObject):
    def uptime(self):  # type: ignore[no-untyped-def]  # as a service of before writes it
        return super().uptime() + 1000

    def shutdown(self):  # type: ignore[no-untyped-def]
        self.asked = True

    def listTasks(self) -> list[str]:
        assert self.service.name == self.dbus_service.service.name
        return [self.path, self.logger.name]

    @dbus_method
    def Added(self) -> str:
        return "added"


def test_bus_class_shows_the_service(session_bus: Daemon) -> None:
    task = type("Own", (Before,), {"BUS_CLASS": Shown})
    with running(service_of(task), *session_bus.argv) as service:
        shown = service.requireTask("Own").proxy(NAME, "/Service/sparts", SPARTS)
        assert shown.uptime() >= 1000
        assert shown.listTasks() == ["/Service/sparts", "Service.Own"]
        assert shown.Added() == "added"
        shown.shutdown()
        assert service.health.status is ServiceStatus.ALIVE
        assert service.requireTask("Own")._about.asked


def test_bus_class_of_another_library_is_refused(session_bus: Daemon) -> None:
    task = type("Own", (Before,), {"BUS_CLASS": object})
    with pytest.raises(UsageError, match=r"Own\.BUS_CLASS .* subclass of .*VServiceDBusObject"):
        make_service(service_of(task), *session_bus.argv).startBG()


def test_handlers_are_added_by_an_overridable_method(session_bus: Daemon) -> None:
    class Without(Before):
        def addHandlers(self) -> None:
            self.export("/own", Shown(self))

    with running(service_of(Without), *session_bus.argv) as service:
        paths = service.requireTask(Without).objects._objects
        assert set(paths) == {"/org/example/Before", "/own"}


# -- the types of answers --------------------------------------------------------------------------


def test_answers_have_the_types_that_they_had(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv, "--dbus-control") as service:

        def ask(path: str, method: str, *args: str) -> str:
            return session_bus.gdbus(NAME, f"/Service/{path}", method, *args)

        assert re.fullmatch(r"\(int64 \d+,\)", ask("sparts", f"{SPARTS}.uptime"))
        assert ask("fb303", f"{FB303}.getStatus") == "('ALIVE',)"
        service.registerWarning("odd")
        assert ask("fb303", f"{FB303}.getStatus") == "('WARNING',)"
        said = ask("fb303", f"{MORE}.aliveSinceStr")
        assert re.fullmatch(r"\('\d{4}-\d\d-\d\d \d\d:\d\d:\d\d',\)", said)
        assert ask("fb303", f"{MORE}.setOptionV", "colour", "<'red'>") == "()"
        assert service.getOption("colour") == "red"
        assert ask("fb303", f"{MORE}.setOptionV", "colour", "<7>") == "()"
        assert service.getOption("colour") == "7"
        assert ask("sparts", f"{SPARTS}.setOption", "colour", "<'__None__'>") == "()"
        assert service.getOption("colour") is None
        ask("fb303", f"{FB303}.setOption", "colour", "blue")
        ask("fb303", f"{FB303}.setOption", "colour", "__None__")
        assert service.getOption("colour") is None


def test_set_option_of_sparts_fb303_needs_the_permission(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv) as service:
        said = session_bus.gdbus(
            NAME, "/Service/fb303", f"{MORE}.setOptionV", "colour", "<'red'>", check=False
        )
        assert "AccessDenied" in said
        assert service.getOption("colour") == "green"
