"""Names of sparts 0.7 that its services use and that nothing else here needs.

`EstablishedService` is a base of `sparts.vservice.VService`, `EstablishedTask` one of
`sparts.vtask.VTask`. The kernel knows neither: it calls `_addArguments` and nothing else of them.
What they show is always the present state, so that code which keeps it sees changes.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.counters import CallbackCounter, Metric, counters_of, read_counters
from sparts.counters.live import live
from sparts.errors import OptionError
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from sparts.counters.live import LiveNumber

K = TypeVar("K")
V = TypeVar("V")


class View(Mapping[K, V]):
    """A mapping that is read anew whenever somebody looks into it.

    Args:
        read: returns what it shows now.
    """

    def __init__(self, read: Callable[[], Mapping[K, V]]) -> None:
        self._read = read

    def __getitem__(self, key: K) -> V:
        return self._read()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(dict(self._read()))


class ExportedValues(View[str, str], MutableMapping[str, str]):
    """The exported values of a service; what is set here is exported."""

    def __init__(self, service: Any) -> None:
        super().__init__(service.getExportedValues)
        self._set = service.setExportedValue

    def __setitem__(self, name: str, value: str) -> None:
        self._set(name, value)

    def __delitem__(self, name: str) -> None:
        self._read()[name]
        self._set(name, None)


class Counters(View[str, Any], MutableMapping[str, Any]):
    """The counters that a service or task has itself; a function that is set here becomes one."""

    def __init__(self, owner: object) -> None:
        super().__init__(lambda: counters_of(owner))
        self._owner = owner

    def __setitem__(self, name: str, value: Callable[[], float | None]) -> None:
        metric = value if isinstance(value, Metric) else CallbackCounter(value)
        metric.name = name
        vars(self._owner)[f"counter {name}"] = metric

    def __delitem__(self, name: str) -> None:
        del vars(self._owner)[f"counter {name}"]


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

    @cached_property
    def counters(self) -> Counters:
        """The counters of the object itself, by name, each a function that reads it.

        A function (or counter) that is put in under a name becomes a counter.
        """
        return Counters(self)

    def getChild(self, name: str) -> Any:  # noqa: N802
        """Return the task of a name; KeyError if there is none. A task has none."""
        return self.getChildren()[name]

    def getChildren(self) -> dict[str, Any]:  # noqa: N802
        """Return the tasks by name; none, of a task."""
        return {}

    @classmethod
    def _addArguments(cls, ap: argparse.ArgumentParser) -> None:  # noqa: N802
        """Add arguments of one's own to the command line; called with the whole parser.

        Declared options are there already, so that an override need not call this. Values are read
        by ``service.getOption``. The default does nothing. What argparse raises ends the start.
        """


class OptionValue:
    """An option that a built-in plugin declares, as an attribute of the service."""

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the name of the option."""
        self._option = name

    def __get__(self, service: Any, owner: type | None = None) -> Any:
        """Give the value; None while the plugin is blocked."""
        return self if service is None else service.getOption(self._option)

    def __set__(self, service: Any, value: Any) -> None:
        """Set the option."""
        service.setOption(self._option, value)


class EstablishedService(_Established):
    """The part of `sparts.vservice.VService` that keeps names of sparts 0.7."""

    if TYPE_CHECKING:

        @property
        def status(self) -> ServiceStatus: ...  # noqa: D102

        name: str

        def shutdown(self) -> None: ...  # noqa: D102
        def getWarnings(self) -> dict[int, str]: ...  # noqa: D102, N802

    _stop_asked = False
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
        return self.name

    @property
    def _stop(self) -> bool:
        """Whether the service must stop, as plain tasks ask in their loops. True sets it off."""
        return self._stop_asked or self.status in _ENDS

    @_stop.setter
    def _stop(self, stop: bool) -> None:
        if stop:
            self.shutdown()

    @cached_property
    def warnings(self) -> View[int, str]:
        """The present warnings by id; `registerWarning` and `clearWarning` change them."""
        return View(self.getWarnings)

    @cached_property
    def exported_values(self) -> ExportedValues:
        """The exported values by name; setting one exports it."""
        return ExportedValues(self)


class EstablishedTask(_Established):
    """The part of `sparts.vtask.VTask` that keeps names of sparts 0.7."""

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


def add_own_arguments(parser: argparse.ArgumentParser, owners: Iterable[type[Any]]) -> None:
    """Have classes of a service and of tasks add arguments of their own to its parser.

    Raises:
        OptionError: two arguments have one name.
    """
    from argparse import ArgumentError

    for owner in owners:
        try:
            owner._addArguments(parser)
        except ArgumentError as error:
            raise OptionError(f"{owner.__name__}._addArguments: {error}") from error


_ENDS = (ServiceStatus.STOPPING, ServiceStatus.STOPPED, ServiceStatus.DEAD)
