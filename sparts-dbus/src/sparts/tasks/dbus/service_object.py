"""The service itself on the bus: ``/NAME/sparts`` with `INTERFACE`, and ``/NAME/fb303``.

Every answer is of the service's own introspection. What is not set is shown as ``""``: D-Bus has
no None.
"""

from __future__ import annotations

import asyncio
import re
import time
from logging import Logger
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sparts.fb303 import FB303
from sparts.hookspecs import hookimpl
from sparts.net.asking import Asking
from sparts.shown import ours
from sparts.tasks.dbus.control import Controlled, authorize
from sparts.tasks.dbus.errors import OURS, DBusError
from sparts.tasks.dbus.exporting import (
    DBusObject,
    dbus_details,
    dbus_method,
    dbus_property,
    dbus_signal,
)
from sparts.tasks.dbus.types import Int32
from sparts.vservice import VService

if TYPE_CHECKING:
    from sparts.states import ServiceStatus, TaskState
    from sparts.vtask import VTask

INTERFACE = "org.sparts.Service"
FB303_MORE = "org.sparts.FB303Service"
"""What sparts adds to fb303 on a bus."""


class HealthReport(NamedTuple):
    """What `ServiceObject.getHealth` returns: two words, and why for each task and check."""

    healthy: bool
    ready: bool
    liveness: dict[str, str]
    readiness: dict[str, str]


class ServiceObject(DBusObject):
    """A sparts service: its options, tasks, warnings, exported values, counters and health.

    To offer more of a service or other answers, make a subclass and name it as ``BUS_CLASS``. A
    method that it overrides keeps its place on the bus, without a decorator of its own.
    """

    INTERFACE: ClassVar[str] = INTERFACE

    def __init__(self, task: Controlled) -> None:
        self.dbus_service = task
        """The task that offers it."""
        self.service: VService = ours(task.service)
        """The service that it shows."""
        self.logger: Logger = task.logger
        self.path: str = service_path(self.service.name) + "/sparts"
        """Where it is offered."""
        self._asking = Asking()  # counters and checks, which may not answer

    # -- identity and state ------------------------------------------------------------------------

    @dbus_property
    @dbus_details(emits_change="const")
    def Name(self) -> str:  # noqa: N802
        """The name of the service."""
        return str(self.service.name)

    @dbus_property
    @dbus_details(emits_change="const")
    def Version(self) -> str:  # noqa: N802
        """The version of the service; empty if it has none."""
        return str(self.service.VERSION)

    @dbus_property
    @dbus_details(emits_change="const")
    def StartTime(self) -> float:  # noqa: N802
        """When the service was made, in seconds since the epoch."""
        return float(self.service.start_time)

    @dbus_property
    def Status(self) -> str:  # noqa: N802
        """NEW, STARTING, ALIVE, WARNING, STOPPING, STOPPED or DEAD."""
        return str(self.service.health.status)

    @dbus_property
    @dbus_details(emits_change="invalidates")
    def StatusDetails(self) -> str:  # noqa: N802
        """Why the status is what it is, for a person; empty when all is well."""
        return str(self._asking.ask("checks", self.service.health.status_details))

    @dbus_property
    @dbus_details(emits_change="invalidates")
    def Ready(self) -> bool:  # noqa: N802
        """Whether the service can be sent work: every task is ready, and no check fails."""
        return bool(self._asking.ask("ready", lambda: self.service.health.ready))

    @dbus_signal
    def StatusChanged(self, old: str, new: str) -> None:  # noqa: N802
        """The status of the service has changed."""

    @dbus_signal
    def TaskChanged(self, task: str, old: str, new: str) -> None:  # noqa: N802
        """The state of a task has changed."""

    @hookimpl
    def sparts_service_change(self, old: ServiceStatus, new: ServiceStatus) -> None:
        """Send the signals of a change of the service; in the thread that makes the change."""
        self.StatusChanged(str(old), str(new))
        self.properties_changed("Status", "StatusDetails", "Ready")

    @hookimpl
    def sparts_task_change(self, task: VTask, old: TaskState, new: TaskState) -> None:
        """Send the signals of a change of a task; in the thread that makes the change."""
        self.TaskChanged(task.name, str(old), str(new))
        self.properties_changed("Ready")

    @dbus_method
    def uptime(self) -> int:
        """Return how long the service has been there, in whole seconds."""
        return int(time.time() - self.service.start_time)

    @dbus_method
    def describe(self) -> dict[str, Any]:
        """Return all that there is to know of the service."""
        described: dict[str, Any] = shown(self._asking.ask("all", self.service.stats.describe))
        return described

    @dbus_method
    def getHealth(self) -> HealthReport:  # noqa: N802
        """Return whether the service is healthy and ready, and why not, by task and check."""
        service = self.service

        def report() -> HealthReport:
            live, ready = service.health.liveness(), service.health.readiness()
            return HealthReport(service.health.healthy, not any(ready.values()), live, ready)

        return self._asking.ask("health", report)

    # -- tasks -------------------------------------------------------------------------------------

    @dbus_method
    def listTasks(self) -> list[str]:  # noqa: N802
        """Return the names of the tasks, in start order."""
        return list(self.service.getChildren())

    @dbus_method
    def getTasks(self) -> list[dict[str, Any]]:  # noqa: N802
        """Return what there is to know of each task."""
        tasks: list[dict[str, Any]] = shown(
            self._asking.ask("all", self.service.stats.describe)["tasks"]
        )
        return tasks

    # -- options -----------------------------------------------------------------------------------

    @dbus_method
    def listOptions(self) -> list[str]:  # noqa: N802
        """Return the names of all options."""
        return list(self.service.getOptions())

    @dbus_method
    def getOption(self, name: str) -> Any:  # noqa: N802
        """Return the value of an option; a secret one is masked."""
        options = self.service.getOptions()
        key = name.replace("-", "_")
        if key not in options:
            raise not_found(f"No option is named {name!r}. See listOptions.")
        return shown(options[key])

    @dbus_method
    def getOptions(self) -> dict[str, Any]:  # noqa: N802
        """Return the values of all options by name; secret ones are masked."""
        options: dict[str, Any] = shown(self.service.getOptions())
        return options

    @dbus_method
    async def setOption(self, name: str, value: Any) -> None:  # noqa: N802
        """Set an option; a string is read as the command line would, ``__None__`` unsets it."""
        await authorize(self.dbus_service, "setOption")
        await asyncio.to_thread(self.service.setOption, name, unset(value))

    # -- counters and exported values --------------------------------------------------------------

    @dbus_method
    def getCounters(self) -> dict[str, float]:  # noqa: N802
        """Return all counters by name."""
        counters = self._asking.ask("counters", self.service.getCounters)
        return {name: float(value.real) for name, value in counters.items()}

    @dbus_method
    def getCounter(self, name: str) -> float:  # noqa: N802
        """Return the value of one counter."""
        try:
            found = self._asking.ask(f"counter {name}", lambda: self.service.getCounter(name))
            return float(found.real)
        except KeyError as error:
            raise not_found(str(error.args[0])) from error

    @dbus_method
    def getExportedValues(self) -> dict[str, str]:  # noqa: N802
        """Return all exported values by name."""
        return {name: str(value) for name, value in self.service.getExportedValues().items()}

    @dbus_method
    def getExportedValue(self, name: str) -> str:  # noqa: N802
        """Return the exported value of a name; empty if there is none."""
        return str(self.service.getExportedValue(name))

    # -- warnings ----------------------------------------------------------------------------------

    @dbus_method
    def getWarnings(self) -> dict[int, str]:  # noqa: N802
        """Return the present warnings by their numbers."""
        return self.service.getWarnings()

    @dbus_method
    async def clearWarning(self, warning: int) -> bool:  # noqa: N802
        """Remove a warning by its number; false if there is none."""
        await authorize(self.dbus_service, "clearWarning")
        return bool(self.service.clearWarning(warning))

    @dbus_method
    async def clearWarnings(self) -> None:  # noqa: N802
        """Remove all warnings."""
        await authorize(self.dbus_service, "clearWarnings")
        self.service.clearWarnings()

    # -- life --------------------------------------------------------------------------------------

    @dbus_method
    async def reload(self) -> None:
        """Ask for a reload, as SIGHUP does."""
        await authorize(self.dbus_service, "reload")
        self.service.health.request_reload()

    @dbus_method
    async def restart(self) -> None:
        """Ask for a stop and a new start with the same options."""
        await authorize(self.dbus_service, "restart")
        self.service.restart()

    @dbus_method
    async def shutdown(self) -> None:
        """Ask for the end of the service."""
        await authorize(self.dbus_service, "shutdown")
        self.service.shutdown()


class FB303Object(DBusObject):
    """The fb303 interface; see `sparts.fb303`, which answers."""

    INTERFACE: ClassVar[str] = "com.facebook.fb303.Service"

    def __init__(self, task: Controlled) -> None:
        self._task = task
        self._facts = FB303(task.service)

    @dbus_method
    def getName(self) -> str:  # noqa: N802
        """Return the name of the service."""
        return self._facts.getName()

    @dbus_method
    def getVersion(self) -> str:  # noqa: N802
        """Return the version of the service."""
        return self._facts.getVersion()

    @dbus_method
    def getStatus(self) -> str:  # noqa: N802
        """Return the status: DEAD, STARTING, ALIVE, STOPPING, STOPPED or WARNING."""
        return self._facts.getStatus().name

    @dbus_method
    def getStatusDetails(self) -> str:  # noqa: N802
        """Return why the status is what it is."""
        return self._facts.getStatusDetails()

    @dbus_method
    def aliveSince(self) -> int:  # noqa: N802
        """Return when the service was made, in seconds since the epoch."""
        return self._facts.aliveSince()

    @dbus_method(interface=FB303_MORE)
    def aliveSinceStr(self) -> str:  # noqa: N802
        """Return when the service was made, as local time: ``2026-11-27 18:00:00``."""
        since = time.localtime(self._facts.aliveSince())
        return time.strftime("%Y-%m-%d %H:%M:%S", since)

    @dbus_method(interface=FB303_MORE)
    async def setOptionV(self, key: str, value: Any) -> None:  # noqa: N802
        """Set an option from a value of any type, as if it were a string."""
        await authorize(self._task, "setOption")
        await asyncio.to_thread(self._facts.setOption, key, str(value))

    @dbus_method
    def getCounters(self) -> dict[str, int]:  # noqa: N802
        """Return all counters, as whole numbers."""
        return self._facts.getCounters()

    @dbus_method
    def getCounter(self, key: str) -> int:  # noqa: N802
        """Return a counter as a whole number; 0 if there is none."""
        return self._facts.getCounter(key)

    @dbus_method
    def getSelectedCounters(self, keys: list[str]) -> dict[str, int]:  # noqa: N802
        """Return those of the counters that there are."""
        return self._facts.getSelectedCounters(keys)

    @dbus_method
    def getRegexCounters(self, regex: str) -> dict[str, int]:  # noqa: N802
        """Return the counters whose names a regular expression matches."""
        return self._facts.getRegexCounters(regex)

    @dbus_method
    def getExportedValues(self) -> dict[str, str]:  # noqa: N802
        """Return all exported values."""
        return self._facts.getExportedValues()

    @dbus_method
    def getExportedValue(self, key: str) -> str:  # noqa: N802
        """Return an exported value; empty if there is none."""
        return self._facts.getExportedValue(key)

    @dbus_method
    def getSelectedExportedValues(self, keys: list[str]) -> dict[str, str]:  # noqa: N802
        """Return those of the exported values that there are."""
        return self._facts.getSelectedExportedValues(keys)

    @dbus_method
    def getRegexExportedValues(self, regex: str) -> dict[str, str]:  # noqa: N802
        """Return the exported values whose names a regular expression matches."""
        return self._facts.getRegexExportedValues(regex)

    @dbus_method
    def getOptions(self) -> dict[str, str]:  # noqa: N802
        """Return all options as texts; secret ones are masked."""
        return self._facts.getOptions()

    @dbus_method
    def getOption(self, key: str) -> str:  # noqa: N802
        """Return an option as text; empty if there is none."""
        return self._facts.getOption(key)

    @dbus_method
    async def setOption(self, key: str, value: str) -> None:  # noqa: N802
        """Set an option from a string; ``__None__`` unsets it."""
        await authorize(self._task, "setOption")
        await asyncio.to_thread(self._task.service.setOption, key, unset(value))

    @dbus_method
    def getCpuProfile(self, profileDurationInSec: Int32) -> str:  # noqa: N802, N803
        """Profile the process for some seconds, and return what took its CPU time."""
        return self._facts.getCpuProfile(profileDurationInSec)

    @dbus_method
    async def reinitialize(self) -> None:
        """Ask for a reload, as SIGHUP does."""
        await authorize(self._task, "reinitialize")
        self._facts.reinitialize()

    @dbus_method
    async def shutdown(self) -> None:
        """Ask for the end of the service."""
        await authorize(self._task, "shutdown")
        self._facts.shutdown()


def service_path(name: str) -> str:
    """Return the path below which a service of a name is offered."""
    return "/" + re.sub("[^A-Za-z0-9_]", "_", name)


def unset(value: Any) -> Any:
    """Return what an option is set to: None where clients send ``__None__``, as D-Bus has none."""
    return None if value == "__None__" else value


def shown(value: Any) -> Any:
    """Return a plain value without any None in it."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return value


def not_found(text: str) -> DBusError:
    """Return the error for a name that nothing has."""
    return DBusError(OURS + "NotFound", text)
