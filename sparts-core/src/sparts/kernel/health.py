"""Where one instance of a service is in its life: its status, warnings, checks and readiness.

A change is recorded at once, by the thread that makes it; hooks hear of it in order, one at a time.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sparts.errors import TaskFailedError, check_free, describe, log_error, text_of
from sparts.kernel.inbox import Message
from sparts.masking import masked
from sparts.shown import ours
from sparts.states import ServiceStatus, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sparts.kernel.inbox import Inbox
    from sparts.plugins.dispatch import Hooks
    from sparts.protocols import Service, Task

_BEFORE = {
    ServiceStatus.STARTING: ServiceStatus.NEW,
    ServiceStatus.ALIVE: ServiceStatus.STARTING,
}
"""The phases that only follow one other."""


class Check(NamedTuple):
    """A function that returns False or raises when something is wrong, and what follows if so."""

    ask: Callable[[], object]
    vital: bool
    """Whether a failure makes the service unhealthy, and not just unfit to be sent work."""

    def problem(self) -> str:
        """Return what is wrong, ``""`` if nothing is."""
        try:
            return "it says so" if self.ask() is False else ""
        except BaseException as error:  # a check that fails does not decide
            return describe(error)


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


class Health:
    """The life, warnings and checks of one instance of a service (`VService.health`).

    Safe for threads.

    Args:
        service: the service, for messages and hooks.
        hooks: who learns of changes.
        inbox: that of the service.
        tasks: returns the supervisors of the tasks, once they are made.
    """

    def __init__(
        self,
        service: Service,
        hooks: Hooks,
        inbox: Inbox,
        tasks: Callable[[], Iterable[Supervised]],
    ) -> None:
        self.changing: threading.RLock = threading.RLock()
        """Held while hooks learn of a change, so that they hear of one at a time, in order."""
        self.ended: threading.Event = threading.Event()
        """Set when this instance has ended."""
        self.error: BaseException | None = None
        """Why this instance ended otherwise than in order."""
        self.owns_process = False
        """Whether the process belongs to the service (`initFromCLI`), and may be ended with it."""
        self.restarting = False
        """Whether the service is being stopped to be started again."""
        self.stop_asked = False
        """Whether `VService.shutdown` or `VService.restart` was called."""
        self.stop_deadline: float | None = None
        """When this instance must have stopped, by `time.monotonic`; set when the stop begins."""
        self.start_time: float = time.time()
        """When this instance was made, in seconds since the epoch."""
        self.status_since: float = self.start_time
        """When the status last changed, in seconds since the epoch."""
        self._service = service
        self._hooks = hooks
        self.inbox = inbox
        self._tasks = tasks
        self._readiness = threading.Condition(self.changing)
        self._was_ready = False
        self._recording = threading.Lock()  # never held while anything of others is called
        self._phase = self._recorded = ServiceStatus.NEW
        self._untold: deque[tuple[ServiceStatus, ServiceStatus]] = deque()
        self._facts = threading.Lock()
        self._warnings: dict[int, str] = {}
        self._warning_ids = itertools.count(1)
        self._checks: dict[str, Check] = {}
        self._failing: dict[str, tuple[str, float]] = {}
        self._degradations: dict[str, int] = {}

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

    @property
    def serves(self) -> bool:
        """Whether every task has started, and no stop was asked for."""
        return self._phase is ServiceStatus.ALIVE

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
        found: str = masked("; ".join([*told, *self.warnings().values(), *waiting, *failing]))
        return found

    def _tasks_ready(self) -> bool:
        return self.serves and all(task.ready for task in self._tasks())

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until every task is ready; False after ``timeout`` seconds, or if the service has
        ended. Checks are not asked: one that fails does not delay callers that wait for the start.
        """
        with self._readiness:
            self._readiness.wait_for(lambda: self._tasks_ready() or self.ended.is_set(), timeout)
            return self._tasks_ready()

    def wait_stopping(self, timeout: float | None = None) -> bool:
        """Wait until the service must stop or has ended; False after ``timeout`` seconds."""
        going = (ServiceStatus.NEW, ServiceStatus.STARTING, ServiceStatus.ALIVE)
        with self._readiness:
            return self._readiness.wait_for(lambda: self._phase not in going, timeout)

    # -- warnings ----------------------------------------------------------------------------------

    def warn(self, message: str) -> int:
        """Keep a warning of something that has been logged, and return its id.

        It turns the status to WARNING until `clear_warning`.
        """
        warning = next(self._warning_ids)
        with self._facts:
            self._warnings[warning] = text_of(message)
        self._status_changed()
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
        self._status_changed()
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
        if changed:  # told in the lifecycle thread: anybody who asks may hold any lock
            self.record_status()
            self.call_later(0.0, self.tell_statuses, "checks")
        return found

    def known_checks(self) -> dict[str, str]:
        """Why each check failed that did when it was last asked, by name."""
        return {name: problem for name, (problem, _) in sorted(self._failing.items())}

    def failing_since(self) -> dict[str, float]:
        """Since when each check has failed that did when it was last asked, since the epoch."""
        return {name: since for name, (_, since) in self._failing.items()}

    # -- to ask of the service's own threads -------------------------------------------------------

    def call_later(
        self, seconds: float, function: Callable[[], object], name: str | None = None
    ) -> None:
        """Have the lifecycle thread call a function after some seconds; from any thread.

        What it raises ends the service.

        Args:
            seconds: how long to wait.
            function: what to call.
            name: replaces a call of that name that still waits; None: replaces none.
        """
        name = name or f"{id(function):#x}"
        self.inbox.put(Message("later", self._service, (name, seconds, function)))

    def request_reload(self) -> None:
        """Have the service take in changed files and options, as by SIGHUP; from any thread."""
        self.inbox.put(Message("reload"))

    # -- to change, by the lifecycle, the tasks and their supervisors ------------------------------

    def record_status(self, phase: ServiceStatus | None = None) -> None:
        """Enter a phase of life (None: look whether warnings changed the status). Never blocks."""
        with self._recording:
            if phase in _BEFORE and self._phase is not _BEFORE[phase]:
                return  # a stop was asked for meanwhile
            self._phase = phase or self._phase
            new = self.status
            if new is not self._recorded:
                self._untold.append((self._recorded, new))
                self._recorded, self.status_since = new, time.time()

    def tell_statuses(self) -> None:
        """Report new changes to the hooks, and wake who waits to be ready."""
        with self.changing:
            while self._untold:
                old, new = self._untold.popleft()
                self.tell("sparts_service_change", service=self._service, old=old, new=new)
            self.readiness_changed()

    def readiness_changed(self) -> None:
        """Wake who waits for readiness; inform the hooks if it has changed."""
        with self._readiness:
            ready = self._tasks_ready()
            if ready is not self._was_ready:
                self._was_ready = ready
                self.tell("sparts_service_ready", service=self._service, ready=ready)
            self._readiness.notify_all()

    def _status_changed(self) -> None:
        self.record_status()
        self.tell_statuses()

    def task_changed(self, task: Task, old: TaskState, new: TaskState) -> None:
        """Report a change in a task's state."""
        self.tell("sparts_task_change", task=task, old=old, new=new)
        if TaskState.DEGRADED in (old, new):
            self._status_changed()
        elif self.serves:
            self.readiness_changed()

    def degraded(self, name: str, error: BaseException, seconds: float) -> None:
        """Warn of a task that is restarted, for ``seconds``."""
        with self.changing:
            before = self._degradations.pop(name, 0)
            warning = self.warn(f"{name} failed and is restarted: {describe(error)}")
            self._degradations[name] = warning
            self.clear_warning(before)
        self.call_later(seconds, lambda: self.clear_warning(warning), f"warning of {name}")

    def worker_left(self, task: Supervised, error: BaseException) -> None:
        """Note what left a worker of a task for good."""
        if not isinstance(error, SystemExit | KeyboardInterrupt):
            failure = TaskFailedError(f"{task.name} failed: {describe(error)}")
            failure.__cause__, error = error, failure
        self.inbox.put(Message("left", self._service, (task, error)))

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call a hook that only observes; what it raises is logged."""
        with self.changing:
            for name, error in self._hooks.notify(hook, **arguments):
                text = "Hook plugin %s failed in %s"
                log_error(ours(self._service).logger, text, name, hook, error=error)

    def finish(self, error: BaseException | None) -> None:
        """Note that this instance has ended, with an error or in order."""
        self.error = error
        self.ended.set()
        if self.changing.acquire(timeout=0.5):  # a hook that hangs may hold it
            self._readiness.notify_all()
            self.changing.release()
