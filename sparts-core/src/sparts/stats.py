"""What a running service says of itself, the same to every transport.

`Stats` holds exported values, reads counters, and describes the whole in one plain structure. A
transport (HTTP, thrift, D-Bus) shows these; none computes its own.
"""

from __future__ import annotations

import os
import threading
import time
from math import isfinite
from typing import TYPE_CHECKING, Any, cast

from sparts import entry_points
from sparts.counters import CallbackCounter, counters_of, metrics_of, read_counters
from sparts.counters.metric import LiveNumber, live
from sparts.errors import check_free, describe, text_of
from sparts.masking import MASK, masked
from sparts.options import OptionGroup, declared_options, prefix_of, state_of
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sparts.counters import Reading
    from sparts.protocols import Service


class Stats:
    """Counters, exported values and the description of a service (`VService.stats`).

    Safe for threads.

    Args:
        service: the service.
        health: its health.
        tasks: returns the supervisors of its tasks, once they are made.
    """

    def __init__(self, service: Service, health: Any, tasks: Callable[[], Iterable[Any]]) -> None:
        self._raw, self._service = service, ours(service)
        self._health = health
        self._tasks = tasks
        self._lock = threading.Lock()
        self._exported: dict[str, str] = {}
        self._more_counters: dict[str, CallbackCounter] = {}

    def take_contributions(self, hooks: Any) -> None:
        """Take in the counters that plugins add; in the lifecycle thread.

        Raises:
            PluginError: a plugin failed to give them, or a name is taken; the message names it.
        """
        self._more_counters.clear()

        def take_counter(pair: tuple[str, Any]) -> None:
            name, function = pair
            check_free(name, function, self._functions())
            self._more_counters[name] = CallbackCounter(function, name=name)

        hooks.collect("sparts_counters_add", take_counter, service=self._raw)

    # -- exported values ---------------------------------------------------------------------------

    def export(self, name: str, value: str | None) -> None:
        """Show a value under a name to all callers; None removes it."""
        with self._lock:
            if value is None:
                self._exported.pop(name, None)
            else:
                self._exported[name] = value

    def exported_values(self) -> dict[str, str]:
        """Return all exported values by name."""
        with self._lock:
            return cast("dict[str, str]", masked(dict(self._exported)))

    # -- counters ----------------------------------------------------------------------------------

    def _functions(self, of: str = "") -> dict[str, Callable[[], float | None]]:
        """Return what reads each counter, of tasks only those that may have the name ``of``."""
        found: dict[str, Callable[[], float | None]] = {}
        found |= {**self._more_counters, **counters_of(self._raw)}
        for task in self._tasks():
            if of.startswith(f"{task.name}.") or not of:
                found |= {f"{task.name}.{name}": c for name, c in counters_of(task.task).items()}
        return found

    def counters(self) -> dict[str, LiveNumber]:
        """Return the values of all counters; see `VService.getCounters`."""
        found = read_counters(self._functions())
        return {masked(name): value for name, value in found.items()}

    def counter(self, name: str) -> LiveNumber:
        """Return the value of one counter; see `VService.getCounter`."""
        counters = self._functions(name)
        if name not in counters:
            known = ", ".join(sorted(map(masked, self._functions())))
            raise KeyError(f"No counter is named {name!r}. There are: {known}.")
        found = read_counters({name: counters[name]})
        return found.get(name, live(float("nan"), counters[name]))

    def describe_counters(self) -> Iterator[tuple[str, Reading]]:
        """Give every number of every counter with type, help, unit and labels, each after the name
        of its task; ``""`` for the service's own and those of plugins.

        As `counters` does, it leaves out what cannot be read.
        """
        found = [("", counter.readings()) for counter in self._more_counters.values()]
        found.append(("", metrics_of(self._raw)))
        found += [(task.name, metrics_of(task.task)) for task in self._tasks()]
        for task, readings in found:
            for reading in readings:
                labels = masked(reading.labels)
                yield task, reading if labels is reading.labels else reading._replace(labels=labels)

    # -- all of it ---------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """Return what there is to know of this service, as plain values that JSON can carry.

        Times are in seconds. Options that are declared secret are masked, and so are their values
        in whatever is shown. What ``checks`` and a task's ``problem`` hold is what is wrong.
        """
        counters = {name: _plain(value) for name, value in self.counters().items()}
        return {**self.describe_state(), "counters": counters, "options": self.options()}

    def describe_state(self) -> dict[str, Any]:
        """Return what `describe` does, but no counters and options: they cost most of the time."""
        return cast("dict[str, Any]", masked(self._described()))

    def _described(self) -> dict[str, Any]:
        service, health = self._service, self._health
        checks = health.check_results()
        return {
            "name": service.name,
            "version": service.VERSION,
            "pid": os.getpid(),
            "status": str(health.status),
            "status_since": health.status_since,
            "status_details": health.status_details(checks),
            "ready": not any(health.readiness(checks).values()),
            "healthy": health.healthy,
            "checks": checks,
            "failing_since": health.failing_since(),
            "start_time": health.start_time,
            "uptime": time.time() - health.start_time,
            "tasks": [
                {
                    "name": task.name,
                    "state": "ELSEWHERE" if task.held else str(task.state),
                    "ready": task.ready,
                    "problem": "" if task.failed is None else describe(task.failed),
                    "depends_on": [type(need).__name__ for need in task.needs()],
                    "threads": [thread.name for thread in task.threads if thread.is_alive()],
                }
                for task in self._tasks()
            ],
            "threads": [thread.name for thread in threading.enumerate()],
            "warnings": {str(key): text for key, text in health.warnings().items()},
            "exported_values": self.exported_values(),
            "plugins": [
                {"name": entry.name, "distribution": entry.distribution, "version": entry.version}
                for entry in entry_points.find(entry_points.PLUGINS)
            ],
        }

    def options(self) -> dict[str, Any]:
        """Return the values of all options by their names in the namespace, secret ones masked."""
        found: dict[str, Any] = {}
        options = self._service.options
        state = state_of(options)
        bound = dict.fromkeys(binding.owner for binding in state.bindings.values()) if state else ()
        groups = [owner for owner in bound if issubclass(owner, OptionGroup)]
        for owner in (type(self._raw), *(type(task.task) for task in self._tasks()), *groups):
            for option in declared_options(owner):
                dest = option.dest(prefix_of(owner))
                value = getattr(options, dest, None)
                found[dest] = MASK if option.secret and value is not None else masked(_plain(value))
        return found


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
