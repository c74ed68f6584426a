"""The words for where a service and a task are in their lives; and what is known of how well a
service is: warnings, checks, and what its tasks report.
"""

from __future__ import annotations

import enum
import itertools
import threading
import time
from typing import TYPE_CHECKING

from sparts.errors import check_free, describe, text_of
from sparts.masking import masked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Protocol


class ServiceStatus(enum.StrEnum):
    """Where a service is in its life."""

    NEW = "NEW"
    """Made, not started."""
    STARTING = "STARTING"
    """Tasks are being initialised and started."""
    ALIVE = "ALIVE"
    """Every task has started."""
    WARNING = "WARNING"
    """Alive, with warnings or with a degraded task."""
    STOPPING = "STOPPING"
    """A stop was requested: it drains, or stops its tasks."""
    STOPPED = "STOPPED"
    """Ended in order."""
    DEAD = "DEAD"
    """Ended otherwise: a start that failed, a crash, a deadline."""


class TaskState(enum.StrEnum):
    """Where a task is in its life."""

    NEW = "NEW"
    """Made, not initialised."""
    STARTING = "STARTING"
    """Being initialised or started."""
    ALIVE = "ALIVE"
    """Started."""
    DEGRADED = "DEGRADED"
    """A worker failed and waits to be restarted."""
    DONE = "DONE"
    """Every worker returned by itself."""
    STOPPING = "STOPPING"
    """A stop was requested."""
    STOPPED = "STOPPED"
    """Ended in order."""
    DEAD = "DEAD"
    """Ended by a failure, or not in time."""
    SKIPPED = "SKIPPED"
    """Left out: it, or what it depends on, raised SkipTask."""


# -- how well a service is -------------------------------------------------------------------------


class Check:
    """A function that returns False or raises when something is wrong, and what follows if so.

    Attributes:
        vital: whether a failure makes the service unhealthy, and not just unfit to be sent work.
    """

    def __init__(self, ask: Callable[[], object], vital: bool) -> None:
        self.ask: Callable[[], object] = ask
        self.vital: bool = vital

    def problem(self) -> str:
        """Return what is wrong, ``""`` if nothing is."""
        try:
            return "it says so" if self.ask() is False else ""
        except BaseException as error:  # a check that fails does not decide
            return describe(error)


if TYPE_CHECKING:

    class Supervised(Protocol):
        """A task, as its supervisor reports it."""

        @property
        def name(self) -> str: ...  # noqa: D102
        @property
        def state(self) -> TaskState: ...  # noqa: D102
        @property
        def ready(self) -> bool: ...  # noqa: D102
        @property
        def failed(self) -> BaseException | None: ...  # noqa: D102
        def illness(self) -> str: ...  # noqa: D102


class HealthFacts:
    """The warnings, checks and readiness of one instance of a service. Safe for threads.

    Args:
        tasks: returns the supervisors of the tasks, once they are made.
    """

    def __init__(self, tasks: Callable[[], Iterable[Supervised]]) -> None:
        self.start_time: float = time.time()
        """When this instance was made, in seconds since the epoch."""
        self.stop_asked = False
        """Whether `VService.shutdown` or `VService.restart` was called."""
        self._tasks = tasks
        self._phase = ServiceStatus.NEW
        self._facts = threading.Lock()
        self._warnings: dict[int, str] = {}
        self._warning_ids = itertools.count(1)
        self._checks: dict[str, Check] = {}
        self._failing: dict[str, tuple[str, float]] = {}

    def facts_changed(self, asked: bool = False) -> None:
        """Report that warnings or failing checks changed; ``asked``: as somebody asked checks."""

    # -- to read -----------------------------------------------------------------------------------

    @property
    def status(self) -> ServiceStatus:
        """Where the service is in its life; alive with a warning, a degraded task or a check that
        failed when it was last asked is WARNING."""
        if self._phase is ServiceStatus.ALIVE:
            degraded = any(task.state is TaskState.DEGRADED for task in self._tasks())
            if degraded or self._warnings or self._failing:
                return ServiceStatus.WARNING
        return self._phase

    @property
    def serves(self) -> bool:
        """Whether every task has started, and no stop was asked for."""
        return self._phase is ServiceStatus.ALIVE

    @property
    def healthy(self) -> bool:
        """Whether every task has started and is healthy, as is all that vital checks look at."""
        return self._phase is ServiceStatus.ALIVE and not any(self.liveness().values())

    def liveness(self) -> dict[str, str]:
        """Return what only a restart would mend, by the names of tasks and vital checks; ``""``
        where nothing is wrong.

        A service that starts or stops lives.
        """
        found = {task.name: task.illness() for task in self._tasks()}
        return found | self.check_results(vital=True)

    def readiness(self, checks: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return why the service should not be sent work now, by the names of tasks and checks,
        and ``service`` for its own life; ``""`` where nothing is wrong.

        Whatever shows readiness takes it from here: `ready`, ``/readyz``, metrics, D-Bus, fb303.

        Args:
            checks: the results of all checks, as `check_results` returns them; None asks them.
        """
        found = {"service": "" if self.serves else f"it is {self._phase}"}
        for task in self._tasks():
            found[task.name] = "" if task.ready else f"it is {task.state} and not ready"
        return found | dict(self.check_results() if checks is None else checks)

    @property
    def ready(self) -> bool:
        """Whether the service can be sent work: `readiness` names no problem. Asks the checks."""
        return not any(self.readiness().values())

    def status_details(self, checks: Mapping[str, str] | None = None) -> str:
        """Return why the status is what it is, for a person; ``""`` when all is well.

        Args:
            checks: what is known of them, as `check_results` returns it; None asks them.
        """
        checks = self.check_results() if checks is None else checks
        tasks = list(self._tasks())
        told = [f"{task.name} is {task.state}" for task in tasks if task.failed]
        waiting = [f"{task.name} is not ready" for task in tasks if self.serves and not task.ready]
        failing = [f"{name} is unhealthy: {why}" for name, why in checks.items() if why]
        return str(masked("; ".join([*told, *self.warnings().values(), *waiting, *failing])))

    # -- warnings ----------------------------------------------------------------------------------

    def warn(self, message: str) -> int:
        """Keep a warning of something that has been logged, and return its id.

        It turns the status to WARNING until `clear_warning`.
        """
        warning = next(self._warning_ids)
        with self._facts:
            self._warnings[warning] = text_of(message)
        self.facts_changed()
        return warning

    def warnings(self) -> dict[int, str]:
        """Return the messages of the present warnings by id, oldest first."""
        with self._facts:
            found = dict(self._warnings)
        return {warning: masked(message) for warning, message in found.items()}

    def clear_warning(self, warning: int) -> bool:
        """Remove a warning; True if there was one of that id."""
        with self._facts:
            existed = self._warnings.pop(warning, None) is not None
        self.facts_changed()
        return existed

    # -- checks ------------------------------------------------------------------------------------

    def add_check(self, name: str, check: Callable[[], object], *, vital: bool = False) -> None:
        """Add a check; see `VService.add_check`."""
        with self._facts:
            check_free(name, check, {**self._checks, **{task.name: 0 for task in self._tasks()}})
            self._checks[name] = Check(check, vital)

    def checks(self) -> dict[str, Callable[[], object]]:
        """Return the functions that are asked, by the names of the checks."""
        with self._facts:
            return {name: check.ask for name, check in self._checks.items()}

    def remove_check(self, name: str) -> None:
        """Remove a check; nothing happens if there is none."""
        with self._facts:
            self._checks.pop(name, None)
            self._failing.pop(name, None)

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
            self.facts_changed(asked=True)
        return found

    def known_checks(self) -> dict[str, str]:
        """Why each check failed that did when it was last asked, by name."""
        return {name: problem for name, (problem, _) in sorted(self._failing.items())}

    def failing_since(self) -> dict[str, float]:
        """Since when each check has failed that did when it was last asked, since the epoch."""
        return {name: since for name, (_, since) in self._failing.items()}
