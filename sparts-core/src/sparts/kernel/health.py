"""Where a service is in its life: its status, whether it is ready, and who is told of changes.

`Health` is the part of `sparts.vservice.VService` that keeps them. A change is recorded at once,
by whoever makes it; hooks hear of it in order, one at a time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sparts.errors import TaskFailedError, describe, log_error
from sparts.kernel.inbox import Inbox, Message
from sparts.kernel.introspection import Introspection
from sparts.states import ServiceStatus, TaskState

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from sparts.plugins.dispatch import Hooks
    from sparts.vtask import VTask

_BEFORE = {
    ServiceStatus.STARTING: ServiceStatus.NEW,
    ServiceStatus.ALIVE: ServiceStatus.STARTING,
}
"""The phases that only follow one other."""


class Health(Introspection):
    """The status and the readiness of a service. Safe for threads."""

    if TYPE_CHECKING:
        hooks: Hooks
        inbox: Inbox

        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102

    def __init__(self) -> None:
        super().__init__()
        self.changing: threading.RLock = threading.RLock()
        """Held while hooks are told of a change, so that they hear of one at a time, in order."""
        self.ended: threading.Event = threading.Event()
        """Set when this instance has ended."""
        self.stop_deadline: float | None = None
        """When this instance shall have stopped, by `time.monotonic`; set when the stop begins."""
        self._readiness = threading.Condition(self.changing)
        self._was_ready = False
        self._recording = threading.Lock()  # never held while anything of others is called
        self._phase = self._recorded = ServiceStatus.NEW
        self.status_since: float = self.start_time
        """When the status last changed, in seconds since the epoch."""
        self._untold: deque[tuple[ServiceStatus, ServiceStatus]] = deque()
        self._degradations: dict[str, int] = {}

    # -- to read -----------------------------------------------------------------------------------

    @property
    def status(self) -> ServiceStatus:
        """Where the service is in its life; alive with a warning, a degraded task or a check that
        failed when it was last asked is WARNING."""
        if self._phase is ServiceStatus.ALIVE:
            degraded = any(task.state is TaskState.DEGRADED for task in self.instances())
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
        found = {task.name: _ill(task) for task in self.instances()}
        return found | self.check_results(vital=True)

    def readiness(self, checks: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return why the service should not be sent work now, by the names of tasks and checks,
        and ``service`` for its own life; ``""`` where nothing is wrong.

        Whatever shows readiness takes it from here: `ready`, ``/readyz``, metrics, D-Bus, fb303.

        Args:
            checks: the results of all checks, as `check_results` returns them; None asks them.
        """
        alive = self._phase is ServiceStatus.ALIVE
        found = {"service": "" if alive else f"it is {self._phase}"}
        for task in self.instances():
            found[task.name] = "" if task.ready else f"it is {task.state} and not ready"
        return found | dict(self.check_results() if checks is None else checks)

    @property
    def ready(self) -> bool:
        """Whether the service can be sent work: `readiness` names no problem. Asks the checks."""
        return not any(self.readiness().values())

    def _tasks_ready(self) -> bool:
        alive = self._phase is ServiceStatus.ALIVE
        return alive and all(task.ready for task in self.instances())

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until every task is ready; False after ``timeout`` seconds, or if the service has
        ended. Checks are not asked: one that fails does not hold up whoever waits for the start.
        """
        with self._readiness:
            self._readiness.wait_for(lambda: self._tasks_ready() or self.ended.is_set(), timeout)
            return self._tasks_ready()

    def wait_stopping(self, timeout: float | None = None) -> bool:
        """Wait until the service is told to stop or has ended; False after ``timeout`` seconds."""
        going = (ServiceStatus.NEW, ServiceStatus.STARTING, ServiceStatus.ALIVE)
        with self._readiness:
            return self._readiness.wait_for(lambda: self._phase not in going, timeout)

    # -- to change, by the lifecycle, the tasks and their supervisors ------------------------------

    @property
    def serves(self) -> bool:
        """Whether every task has started, and no stop was asked for."""
        return self._phase is ServiceStatus.ALIVE

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
        """Tell the hooks of the changes that they have not heard of, and who waits to be ready."""
        with self.changing:
            while self._untold:
                old, new = self._untold.popleft()
                self.tell("sparts_service_change", service=self, old=old, new=new)
            self.readiness_changed()

    def readiness_changed(self) -> None:
        """Wake who waits for readiness; tell the hooks if it has changed."""
        with self._readiness:
            ready = self._tasks_ready()
            if ready is not self._was_ready:
                self._was_ready = ready
                self.tell("sparts_service_ready", service=self, ready=ready)
            self.wake_waiting()

    def wake_waiting(self) -> None:
        """Have those look again that wait in `wait_ready` or `wait_stopping`; hold `changing`."""
        self._readiness.notify_all()

    def warnings_changed(self) -> None:
        """Take the present warnings into the status."""
        self.record_status()
        self.tell_statuses()

    def checks_changed(self) -> None:
        """Take what the checks said into the status, and have the lifecycle thread tell it."""
        self.record_status()
        self.inbox.put(Message("later", self, ("checks", 0.0, self.tell_statuses)))

    def task_changed(self, task: VTask, old: TaskState, new: TaskState) -> None:
        """Tell of a change in a task's state."""
        self.tell("sparts_task_change", task=task, old=old, new=new)
        if TaskState.DEGRADED in (old, new):
            self.record_status()
            self.tell_statuses()
        elif self._phase is ServiceStatus.ALIVE:
            self.readiness_changed()

    def degraded(self, task: VTask, error: BaseException, seconds: float) -> None:
        """Warn of a task that is restarted, for ``seconds``."""
        message = f"{task.name} failed and is restarted: {describe(error)}"
        with self.changing:
            before = self._degradations.pop(task.name, 0)
            self._degradations[task.name] = warning = self.keep_warning(message)
            self.clearWarning(before)
        clear = (f"warning of {task.name}", seconds, lambda: self.clearWarning(warning))
        self.inbox.put(Message("later", self, clear))

    def worker_left(self, task: VTask, error: BaseException) -> None:
        """Note what left a worker of a task for good."""
        if not isinstance(error, SystemExit | KeyboardInterrupt):
            failure = TaskFailedError(f"{task.name} failed: {describe(error)}")
            failure.__cause__, error = error, failure
        self.inbox.put(Message("left", self, (task, error)))

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call a hook that only observes; what it raises is logged."""
        with self.changing:
            for name, error in self.hooks.notify(hook, **arguments):
                text = "Hook plugin %s failed in %s"
                log_error(self.logger, text, name, hook, error=error)


def _ill(task: VTask) -> str:
    """Return why a task is not able to work; ``""`` if it is."""
    try:
        if task.healthy:
            return ""
    except BaseException as error:  # whoever is asked does not decide
        log_error(task.logger, "%s could not say whether it is healthy", task.name)
        return describe(error)
    return f"it is {task.state} and not healthy"
