"""What a running service tells of itself, the same to every transport.

`Introspection` is the part of `sparts.vservice.VService` that holds warnings and exported values,
reads counters, and describes the whole in one plain structure. A transport (HTTP, thrift, D-Bus)
shows these; none computes its own.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts import plugins
from sparts.counters import CallbackCounter, counters_of, metrics_of, read_counters
from sparts.counters.live import LiveNumber, live
from sparts.errors import UsageError, describe, text_of
from sparts.masking import MASK, masked
from sparts.options import OptionGroup, declared_options
from sparts.options.binding import state_of
from sparts.patterns import matcher
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    import argparse
    import logging
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping

    from sparts.counters import Reading
    from sparts.kernel.taskset import Tasks
    from sparts.plugins.dispatch import Hooks
    from sparts.vtask import VTask


class Check(NamedTuple):
    """A function that returns False or raises when something is wrong, and what follows if so."""

    ask: Callable[[], object]
    vital: bool
    """Whether a failure makes the service unhealthy, and not just unfit to be sent work."""

    def problem(self) -> str:
        """Return what is wrong, ``""`` if nothing is."""
        try:
            return "it says so" if self.ask() is False else ""
        except BaseException as error:  # whoever is asked does not decide
            return describe(error)


class Introspection:
    """Warnings, exported values, counters and the description of a service. Safe for threads."""

    if TYPE_CHECKING:
        VERSION: str
        name: str
        status_since: float
        options: argparse.Namespace
        tasks: Tasks

        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102
        @property
        def status(self) -> ServiceStatus: ...  # noqa: D102
        @property
        def healthy(self) -> bool: ...  # noqa: D102
        @property
        def hooks(self) -> Hooks: ...  # noqa: D102
        def warnings_changed(self) -> None: ...  # noqa: D102
        def checks_changed(self) -> None: ...  # noqa: D102
        def readiness(self, checks: Mapping[str, str] | None = None) -> dict[str, str]: ...  # noqa: D102
        def instances(self) -> list[VTask]: ...  # noqa: D102

    def __init__(self) -> None:
        self.start_time: float = time.time()
        """When this instance was made, in seconds since the epoch."""
        self._facts = threading.Lock()
        self._warnings: dict[int, str] = {}
        self._warning_ids = itertools.count(1)
        self._exported: dict[str, str] = {}
        self._more_counters: dict[str, CallbackCounter] = {}
        self._checks: dict[str, Check] = {}
        self._failing: dict[str, tuple[str, float]] = {}

    def take_contributions(self) -> None:
        """Take in the counters and health checks that plugins add; in the lifecycle thread.

        Raises:
            PluginError: a plugin failed to give them, or a name is taken; the message names it.
        """
        self._more_counters.clear()
        taken = self._counters()

        def take_counter(pair: tuple[str, Any]) -> None:
            name, function = pair
            _check_free(name, function, {**self._more_counters, **taken})
            self._more_counters[name] = CallbackCounter(function, name=name)

        self.hooks.collect("sparts_counters_add", take_counter, service=self)

    # -- warnings ----------------------------------------------------------------------------------

    def registerWarning(self, message: str) -> int:  # noqa: N802
        """Log and keep a warning, which turns the status to WARNING, and return its id."""
        self.logger.warning("%s", message)
        return self.keep_warning(message)

    def keep_warning(self, message: str) -> int:
        """Keep a warning, as `registerWarning` does, of something that has been logged."""
        warning = next(self._warning_ids)
        with self._facts:
            self._warnings[warning] = text_of(message)
        self.warnings_changed()
        return warning

    def getWarnings(self) -> dict[int, str]:  # noqa: N802
        """Return the messages of the present warnings by id, oldest first."""
        with self._facts:
            found = dict(self._warnings)
        return {warning: masked(message) for warning, message in found.items()}

    def clearWarning(self, warning: int) -> bool:  # noqa: N802
        """Remove a warning; True if there was one of that id."""
        with self._facts:
            existed = self._warnings.pop(warning, None) is not None
        self.warnings_changed()
        return existed

    def clearWarnings(self) -> None:  # noqa: N802
        """Remove all warnings."""
        with self._facts:
            self._warnings.clear()
        self.warnings_changed()

    # -- exported values ---------------------------------------------------------------------------

    def setExportedValue(self, name: str, value: str | None) -> None:  # noqa: N802
        """Show a value under a name to whoever asks; None removes it."""
        with self._facts:
            if value is None:
                self._exported.pop(name, None)
            else:
                self._exported[name] = value

    def getExportedValue(self, name: str) -> str:  # noqa: N802
        """Return the exported value of a name, or ``""``."""
        with self._facts:
            found: str = masked(self._exported.get(name, ""))
        return found

    def getExportedValues(self) -> dict[str, str]:  # noqa: N802
        """Return all exported values by name."""
        with self._facts:
            found: dict[str, str] = masked(dict(self._exported))
        return found

    def getSelectedExportedValues(self, names: Iterable[str]) -> dict[str, str]:  # noqa: N802
        """Return the exported values of these names, ``""`` where there is none."""
        values = self.getExportedValues()
        return {name: values.get(name, "") for name in names}

    def getRegexExportedValues(self, regex: str) -> dict[str, str]:  # noqa: N802
        """Return the exported values whose names a regular expression matches from their start on.

        Raises:
            SpartsError: the expression is not valid, too long, or needs an extra; see
                `sparts.patterns.matcher`, which also clients may be let use.
        """
        matches = matcher(regex)
        return {name: value for name, value in self.getExportedValues().items() if matches(name)}

    # -- counters ----------------------------------------------------------------------------------

    def _counters(self) -> dict[str, Callable[[], float | None]]:
        found: dict[str, Callable[[], float | None]] = {**self._more_counters, **counters_of(self)}
        for task in self.instances():
            found.update({f"{task.name}.{name}": c for name, c in counters_of(task).items()})
        return found

    def getCounters(self) -> dict[str, LiveNumber]:  # noqa: N802
        """Return the values of all counters of the service, of plugins and (as ``Task.counter``) of
        its tasks.

        Each is a number which can be called, to read the counter again. One that has no value, or
        that cannot be read, such as a callback that raises, is left out.
        """
        found = read_counters(self._counters())
        return {masked(name): value for name, value in found.items()}

    def getCounter(self, name: str) -> LiveNumber:  # noqa: N802
        """Return the value of one counter, as ``getCounter("Task.counter")``; NaN if it has none.

        The number can be called, to read the counter again (None: it has no value).

        Raises:
            KeyError: there is none of that name.
        """
        counters = self._counters()
        if name not in counters:
            known = ", ".join(sorted(map(masked, counters)))
            raise KeyError(f"No counter is named {name!r}. There are: {known}.")
        found = read_counters({name: counters[name]})
        return found.get(name, live(float("nan"), counters[name]))

    def describe_counters(self) -> Iterator[tuple[str, Reading]]:
        """Give every number of every counter with type, help, unit and labels, each after the name
        of its task; ``""`` for the service's own and those of plugins.

        As `getCounters` does, it leaves out what cannot be read.
        """
        for task, reading in self._readings():
            yield task, reading._replace(labels=masked(reading.labels))

    def _readings(self) -> Iterator[tuple[str, Reading]]:
        for counter in self._more_counters.values():
            yield from (("", reading) for reading in counter.readings())
        yield from (("", reading) for reading in metrics_of(self))
        for task in self.instances():
            yield from ((task.name, reading) for reading in metrics_of(task))

    def getChildren(self) -> dict[str, VTask]:  # noqa: N802
        """Return the tasks by name, in start order."""
        return {task.name: task for task in self.instances()}

    # -- health ------------------------------------------------------------------------------------

    def add_check(self, name: str, check: Callable[[], object], *, vital: bool = False) -> None:
        """Have transports such as ``/readyz`` ask whether something is well.

        From any thread; as a rule in `VTask.initTask` or `VService.initService`.

        Args:
            name: what it is shown as.
            check: returns False or raises when something is wrong, and what it raises is the
                reason shown. Called in any thread, whenever somebody asks.
            vital: whether a failure says that only a restart helps. Then it makes the service
                unhealthy, too, which supervisors (systemd's watchdog, ``/livez``) act on.

        Raises:
            UsageError: the name is taken, or the check is not a function.
        """
        with self._facts:
            _check_free(name, check, {**self._checks, **self.getChildren()})
            self._checks[name] = Check(check, vital)

    def failing_checks(self, *, vital: bool = False) -> dict[str, str]:
        """Ask all checks, or the vital ones alone; return why each that fails does, by name."""
        found = self.check_results(vital=vital)
        return {name: problem for name, problem in found.items() if problem}

    def check_results(self, *, vital: bool = False) -> dict[str, str]:
        """Ask all checks, or the vital ones alone; return what is wrong by name, ``""`` if
        nothing is."""
        with self._facts:
            checks = dict(self._checks)
        asked = {name: check for name, check in checks.items() if check.vital or not vital}
        found: dict[str, str] = masked({name: check.problem() for name, check in asked.items()})
        with self._facts:
            before, old, now = self.known_checks(), self._failing, time.time()
            self._failing = {name: old[name] for name in old.keys() - found.keys()} | {
                name: (why, old.get(name, ("", now))[1]) for name, why in found.items() if why
            }
            changed = before != self.known_checks()
        if changed:
            self.checks_changed()
        return found

    def known_checks(self) -> dict[str, str]:
        """Why each check failed that did when it was last asked, by name."""
        return {name: problem for name, (problem, _) in sorted(self._failing.items())}

    # -- all of it ---------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return what there is to know of this service, as plain values that JSON can carry.

        Times are in seconds. Options that are declared secret are masked, and so are their values
        in whatever is told. What ``checks`` and a task's ``problem`` hold is what is wrong.
        """
        described: dict[str, Any] = masked(self._described())
        return described

    def _described(self) -> dict[str, Any]:
        checks = self.check_results()
        return {
            "name": self.name,
            "version": self.VERSION,
            "pid": os.getpid(),
            "status": str(self.status),
            "status_since": self.status_since,
            "status_details": self.status_details(checks),
            "ready": not any(self.readiness(checks).values()),
            "healthy": self.healthy,
            "checks": checks,
            "failing_since": {name: since for name, (_, since) in self._failing.items()},
            "start_time": self.start_time,
            "uptime": time.time() - self.start_time,
            "tasks": [
                {
                    "name": task.name,
                    "state": str(task.state),
                    "ready": task.ready,
                    "problem": "" if task.failed is None else describe(task.failed),
                    "depends_on": [need.name for need in self.tasks.dependencies(task)],
                    "threads": [thread.name for thread in task.threads if thread.is_alive()],
                }
                for task in self.instances()
            ],
            "threads": [thread.name for thread in threading.enumerate()],
            "counters": {name: _plain(value) for name, value in self.getCounters().items()},
            "options": self.getOptions(),
            "warnings": {str(key): text for key, text in self.getWarnings().items()},
            "exported_values": self.getExportedValues(),
            "plugins": [
                {"name": entry.name, "distribution": entry.distribution, "version": entry.version}
                for entry in plugins.find(plugins.PLUGINS)
            ],
        }

    def status_details(self, checks: Mapping[str, str] | None = None) -> str:
        """Return why the status is what it is, for a person; ``""`` when all is well.

        Args:
            checks: what is known of them, as `check_results` tells it; None asks them.
        """
        checks = self.check_results() if checks is None else checks
        tasks = self.instances()
        told = [f"{task.name} is {task.state}" for task in tasks if task.failed]
        alive = self.status in (ServiceStatus.ALIVE, ServiceStatus.WARNING)
        waiting = [f"{task.name} is not ready" for task in tasks if alive and not task.ready]
        failing = [f"{name} is unhealthy: {why}" for name, why in checks.items() if why]
        found: str = masked("; ".join([*told, *self.getWarnings().values(), *waiting, *failing]))
        return found

    def getOptions(self) -> dict[str, Any]:  # noqa: N802
        """Return the values of all options by their names in the namespace, secret ones masked."""
        found: dict[str, Any] = {}
        state = state_of(self.options)
        bound = dict.fromkeys(binding.owner for binding in state.bindings.values()) if state else ()
        groups = [owner for owner in bound if issubclass(owner, OptionGroup)]
        owners: list[Any] = [type(self), *(type(task) for task in self.instances()), *groups]
        for owner in owners:
            prefix = owner.option_prefix()
            for option in declared_options(owner):
                dest = option.dest(prefix)
                value = getattr(self.options, dest, None)
                found[dest] = MASK if option.secret and value is not None else masked(_plain(value))
        return found


def _check_free(name: str, function: object, taken: Container[str]) -> None:
    if name in taken:
        raise UsageError(f"the name {name!r} is taken; begin it with your own or your plugin's.")
    if not callable(function):
        raise UsageError(f"{name!r} is not a function but {function!r}.")


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not isfinite(value):
        return None  # JSON has no such number
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {text_of(key): _plain(item) for key, item in value.items()}
    return text_of(value)
