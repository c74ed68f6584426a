"""Where one instance of a service is in its life: its status, warnings, checks and readiness.

A change is recorded at once, by the thread that makes it; hooks hear of it in order, one at a time.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sparts.errors import TaskFailedError, describe, log_error
from sparts.inbox import Message
from sparts.shown import ours
from sparts.states import HealthFacts, ServiceStatus, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sparts.dispatch import Hooks
    from sparts.inbox import Inbox
    from sparts.protocols import Service, Task
    from sparts.states import Supervised

_BEFORE = {ServiceStatus.STARTING: ServiceStatus.NEW, ServiceStatus.ALIVE: ServiceStatus.STARTING}
"""The phases that only follow one other."""


class Health(HealthFacts):
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
        self.stop_deadline: float | None = None
        """When this instance must have stopped, by `time.monotonic`; set when the stop begins."""
        super().__init__(tasks)
        self.status_since: float = self.start_time
        """When the status last changed, in seconds since the epoch."""
        self._service = service
        self._hooks = hooks
        self.inbox = inbox
        self._readiness = threading.Condition(self.changing)
        self._was_ready = False
        self._recording = threading.Lock()  # never held while anything of others is called
        self._recorded = self._phase
        self._untold: deque[tuple[ServiceStatus, ServiceStatus]] = deque()

    # -- to read -----------------------------------------------------------------------------------

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

    def facts_changed(self, asked: bool = False) -> None:
        """Report that warnings or failing checks changed; ``asked``: as somebody asked checks."""
        self.record_status()
        if asked:  # told in the lifecycle thread: anybody who asks may hold any lock
            self.call_later(0.0, self.tell_statuses, "checks")
        else:
            self.tell_statuses()

    def task_changed(self, task: Task, old: TaskState, new: TaskState) -> None:
        """Report a change in a task's state."""
        self.tell("sparts_task_change", task=task, old=old, new=new)
        if TaskState.DEGRADED in (old, new):
            self.facts_changed()
        elif self.serves:
            self.readiness_changed()

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
