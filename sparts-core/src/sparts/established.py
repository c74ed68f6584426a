"""Names of sparts 0.7, short ones for what its parts know, and the type of what names a task.

`EstablishedService` is a base of `sparts.vservice.VService`, `EstablishedTask` one of
`sparts.vtask.VTask`. The kernel knows neither: it calls `_addArguments` and nothing else of them.
What they show is always the present state (`sparts.views`), so that code which keeps it sees
changes.
"""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar, overload

from sparts.counters import counters_of, read_counters
from sparts.counters.metric import live
from sparts.errors import OptionError
from sparts.options import dest_of, set_option
from sparts.shown import shown
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from typing import Protocol

    from sparts.counters.metric import LiveNumber
    from sparts.protocols import Instance, Task
    from sparts.states import HealthFacts
    from sparts.stats import Stats
    from sparts.views import Counters, ExportedValues, View

T = TypeVar("T")

TaskReference: TypeAlias = "type[Task] | str"
"""A task class, or one of the forms of its name: ``NAME``, ``NAME@DISTRIBUTION``, ``module:Class``,
or ``alias=`` and any of these."""


class Registry(list[type[Any]]):
    """Task classes, as `sparts.vtask.REGISTERED` holds those of every service."""

    def register(self, task: type[Any]) -> None:
        """Add a task class, unless it is here."""
        if task not in self:
            self.append(task)

    def register_all(self, tasks: Iterable[type[Any]]) -> None:
        """Add several task classes."""
        for task in tasks:
            self.register(task)

    def unregister(self, task: type[Any]) -> None:
        """Take a task class out; ValueError if it is not here."""
        self.remove(task)


class _Established:
    """What services and tasks have in common."""

    _GONE: ClassVar[Mapping[str, str]] = {"_loptName": "Give `option` a name."}
    """Methods that sparts 0.7 called, each with what to write in its place."""
    _parts: ClassVar[Mapping[str, str]]
    """What is shown of a part, and needs no name in the class: its names, by the part."""

    @shown
    def counters(self) -> Counters:
        """The counters of the object itself, by name, each a function that reads it.

        A function (or counter) that is put in under a name becomes a counter.
        """
        from sparts.views import Counters  # few services ask for this, and the next two

        return Counters(self)

    def getChild(self, name: str) -> Any:  # noqa: N802
        """Return the task of a name; KeyError if there is none. A task has none."""
        return self.getChildren()[name]

    def getChildren(self) -> dict[str, Any]:  # noqa: N802
        """Return the tasks by name; none, of a task."""
        return {}

    @classmethod
    def _addArguments(cls, ap: argparse.ArgumentParser) -> None:  # noqa: N802
        """Add arguments of your own to the command line; called with the whole parser.

        Declared options are there already, so that an override need not call this. Values are read
        by ``service.getOption``. The default does nothing. What argparse raises ends the start.
        """

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            for part, names in type(self)._parts.items():
                if name in names.split():
                    return getattr(attrgetter(part)(self), name)
            problem = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(problem, name=name, obj=self)


class OptionValue:
    """An option that a built-in plugin declares, as an attribute of the service."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name of the option."""
        self._option = name

    def __get__(self, service: Any, owner: type | None = None) -> Any:
        """Give the value; None while the plugin is blocked."""
        return self if service is None else vars(service).get(self._option, self.kept(service))

    def kept(self, service: Any) -> Any:
        """Give the value past what a subclass has assigned; see `sparts.shown`."""
        return getattr(service._instance.options, self._option, None)

    def __set__(self, service: Any, value: Any) -> None:
        """Set the option; what is no value of it is the subclass's own, under that name."""
        try:
            set_option(service, self._option, value)
        except (OptionError, AttributeError):  # the latter before `VService.__init__`
            vars(service)[self._option] = value


if TYPE_CHECKING:

    class Parts(Instance, Protocol):
        """What is needed of an instance of a service here."""

        stats: Stats

        @property
        def health(self) -> HealthFacts: ...  # noqa: D102


class EstablishedService(_Established):
    """The part of `sparts.vservice.VService` that keeps names of sparts 0.7."""

    _GONE: ClassVar[Mapping[str, str]] = {
        "_createTasks": "Override `initService`.",
        "_startTasks": "Override `start` of a task.",
        "_handleShutdownSignals": "Override `shutdown`.",
    }
    _parts: ClassVar[Mapping[str, str]] = {
        "_instance.health": "status status_details ready readiness healthy liveness ended error "
        "restarting failing_checks check_results wait_ready wait_stopping",
        "_instance.settings": "start_timeout stop_timeout drain_time",
        "_instance.stats": "describe describe_counters",
    }
    DEFAULT_LOGLEVEL: ClassVar[str] = "DEBUG"
    """The default of ``--level``."""

    if TYPE_CHECKING:
        _instance: Parts

    level: OptionValue = OptionValue()
    logfile: OptionValue = OptionValue()
    dryrun: OptionValue = OptionValue()
    daemon: OptionValue = OptionValue()
    pidfile: OptionValue = OptionValue()
    kill: OptionValue = OptionValue()
    runit_install: OptionValue = OptionValue()

    @property
    def _name(self) -> str:
        """The name of the service."""
        return self._instance.name

    @property
    def _stop(self) -> bool:
        """Whether the service must stop, as plain tasks ask in their loops. True sets it off."""
        health = self._instance.health
        return health.stop_asked or health.status in _ENDS

    @_stop.setter
    def _stop(self, stop: bool) -> None:
        if stop:
            self._instance.begin_stop("stop")

    @shown
    def warnings(self) -> View[int, str]:
        """The present warnings by id; `registerWarning` and `clearWarning` change them."""
        from sparts.views import View

        return View(self._instance.health.warnings)

    @shown
    def exported_values(self) -> ExportedValues:
        """The exported values by name; setting one exports it."""
        from sparts.views import ExportedValues

        return ExportedValues(self)

    @shown
    def start_time(self) -> float:
        """When this instance was made, in seconds since the epoch."""
        return self._instance.health.start_time

    @shown
    def loglevel(self) -> int:
        """The level that is logged from, as a number of the logging module."""
        level = getattr(self._instance.options, "level", None) or self.DEFAULT_LOGLEVEL
        return int(logging.getLevelName(level))

    @overload
    def getTask(self, task: type[T]) -> T | None: ...
    @overload
    def getTask(self, task: TaskReference) -> Any: ...
    def getTask(self, task: Any) -> Any:  # noqa: N802
        """Return the task of a name or class, or None."""
        return self._instance.tasks.get(task)

    @overload
    def requireTask(self, task: type[T]) -> T: ...
    @overload
    def requireTask(self, task: TaskReference) -> Any: ...
    def requireTask(self, task: Any) -> Any:  # noqa: N802
        """Return the task of a name or class.

        Raises:
            KeyError: there is none; the message names those that there are.
        """
        return self._instance.tasks.require(task)

    def getChildren(self) -> dict[str, Any]:  # noqa: N802
        """Return the tasks by name, in start order."""
        return dict(self._instance.running.tasks())

    def getOption(self, name: str, default: Any = None) -> Any:  # noqa: N802
        """Return an option's value by its name in the namespace (``http_port``), or ``default``."""
        return getattr(self._instance.options, name.replace("-", "_"), default)

    def getOptions(self) -> dict[str, Any]:  # noqa: N802
        """Return the values of all options by their names in the namespace, secret ones masked."""
        return self._instance.stats.options()

    def setOption(self, name: str, value: Any) -> None:  # noqa: N802
        """Set an option by its name in the namespace; the next reader gets the new value.

        Tasks learn of it (`VTask.on_options_changed`) in the calling thread, before this returns.

        Raises:
            OptionError: there is no such option, the value is not one for it, or it may not change
                at run time.
        """
        set_option(self, name.replace("-", "_"), value)

    def registerWarning(self, message: str) -> int:  # noqa: N802
        """Log and keep a warning, which turns the status to WARNING, and return its id."""
        self._instance.logger.warning("%s", message)
        return self._instance.health.warn(message)

    def getWarnings(self) -> dict[int, str]:  # noqa: N802
        """Return the messages of the present warnings by id, oldest first."""
        return self._instance.health.warnings()

    def clearWarning(self, warning: int) -> bool:  # noqa: N802
        """Remove a warning; True if there was one of that id."""
        return self._instance.health.clear_warning(warning)

    def clearWarnings(self) -> None:  # noqa: N802
        """Remove all warnings."""
        for warning in self._instance.health.warnings():
            self._instance.health.clear_warning(warning)

    def getCounters(self) -> dict[str, LiveNumber]:  # noqa: N802
        """Return the values of all counters of the service, of plugins and (as ``Task.counter``) of
        its tasks.

        Each is a number which can be called, to read the counter again. One that has no value, or
        that cannot be read, such as a callback that raises, is left out.
        """
        return self._instance.stats.counters()

    def getCounter(self, name: str) -> LiveNumber:  # noqa: N802
        """Return the value of one counter, as ``getCounter("Task.counter")``; NaN if it has none.

        The number can be called, to read the counter again (None: it has no value).

        Raises:
            KeyError: there is none of that name.
        """
        return self._instance.stats.counter(name)

    def setExportedValue(self, name: str, value: str | None) -> None:  # noqa: N802
        """Show a value under a name to all callers; None removes it."""
        self._instance.stats.export(name, value)

    def getExportedValue(self, name: str) -> str:  # noqa: N802
        """Return the exported value of a name, or ``""``."""
        return self._instance.stats.exported_values().get(name, "")

    def getExportedValues(self) -> dict[str, str]:  # noqa: N802
        """Return all exported values by name."""
        return self._instance.stats.exported_values()

    def getSelectedExportedValues(self, names: Iterable[str]) -> dict[str, str]:  # noqa: N802
        """Return the exported values of these names, ``""`` where there is none."""
        values = self._instance.stats.exported_values()
        return {name: values.get(name, "") for name in names}

    def getRegexExportedValues(self, regex: str) -> dict[str, str]:  # noqa: N802
        """Return the exported values whose names a regular expression matches from their start on.

        Raises:
            SpartsError: the expression is not valid, too long, or needs an extra; see
                `sparts.patterns.matcher`, which also clients may be let use.
        """
        from sparts.patterns import matcher  # few services are asked this

        matches, values = matcher(regex), self._instance.stats.exported_values()
        return {name: value for name, value in values.items() if matches(name)}


class EstablishedTask(_Established):
    """The part of `sparts.vtask.VTask` that keeps names of sparts 0.7."""

    _GONE: ClassVar[Mapping[str, str]] = {"_optName": "Set OPT_PREFIX."}
    _parts: ClassVar[Mapping[str, str]] = {"_supervisor": "failed n_failures n_restarts"}

    if TYPE_CHECKING:
        _instance: Any

    def getCounters(self) -> dict[str, LiveNumber]:  # noqa: N802
        """Return the values of this task's counters by name, as `VService.getCounters` does."""
        return read_counters(counters_of(self))

    def getCounter(self, name: str) -> LiveNumber:  # noqa: N802
        """Return the value of one counter of this task, NaN if it has none now.

        Raises:
            KeyError: there is none of that name.
        """
        read = counters_of(self)[name]
        return read_counters({name: read}).get(name, live(float("nan"), read))

    def getTaskOption(self, name: str, default: Any = None) -> Any:  # noqa: N802
        """Return the value of this task's option of a name without its prefix."""
        value = getattr(self._instance.options, dest_of(type(self), name), default)
        return default if value is None else value

    def setTaskOption(self, name: str, value: Any) -> None:  # noqa: N802
        """Set this task's option of a name without its prefix."""
        set_option(self, name, value)


_ENDS = (ServiceStatus.STOPPING, ServiceStatus.STOPPED, ServiceStatus.DEAD)
