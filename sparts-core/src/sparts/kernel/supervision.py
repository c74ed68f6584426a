"""What happens when a task fails: restart, back-off, the end of the service.

| what leaves a worker | outcome |
|---|---|
| nothing (it returns) | the worker is done; the service goes on (``RESTART = "always"``: it is
restarted) |
| an `Exception`, or any that is not named below | restarted if the task's ``RESTART`` says so,
else the service ends with status 1 |
| `TaskStoppedError`, after another task was stopped | restarted if ``RESTART`` says so, else the
worker is done, with a WARNING; the service goes on |
| `MemoryError` | never restarted: the service ends with status 1 |
| `SystemExit` | the service shuts down in order and exits with its code |
| `KeyboardInterrupt` | the service shuts down in order, as by ^C |
| any of them after the stop began | logged; the stop goes on; status 1 (`SystemExit`: its code) |
"""

from __future__ import annotations

import logging
import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from sparts.errors import TaskStoppedError, call_plain, describe, log_error, message_of
from sparts.shown import ours
from sparts.states import TaskState
from sparts.supervision import Backoff, RestartPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from sparts.counters import Sum
    from sparts.kernel.health import Health
    from sparts.protocols import SupervisedTask as Task

    class Neighbours(Protocol):
        """The tasks of a service, as their supervisors see them."""

        def __iter__(self) -> Iterator[Supervisor]: ...
        def dependencies(self, task: type[Task]) -> list[Supervisor]: ...  # noqa: D102
        def dependants(self, task: Task) -> list[Supervisor]: ...  # noqa: D102


_STOPS = (TaskState.STOPPING, TaskState.STOPPED)


class Supervisor:
    """What the kernel keeps of one task (`VTask.supervisor`), whatever its class does with names.

    It knows the state of the task, runs its workers, and decides what their failures lead to. Safe
    for threads.

    Args:
        task: the task, just made.
        service: the name of its service.
        health: whom to tell; that of its service.
        neighbours: the tasks of that service.
    """

    def __init__(self, task: Task, service: str, health: Health, neighbours: Neighbours) -> None:
        self.task = task
        self.ours: Task = ours(task)
        """The task, past what its class has overwritten: see `sparts.shown`."""
        self.name: str = type(task).__name__
        self.logger: logging.Logger = logging.getLogger(f"{service}.{self.name}")
        self.policy: RestartPolicy = RestartPolicy.of(type(task), self.ours.RESTART)
        self.threads: list[threading.Thread] = []
        self.stop_event: threading.Event = threading.Event()
        self.stop_deadline: float | None = None
        """When the task must have stopped, by `time.monotonic`; None: it need not, or no limit."""
        self.held: bool = False
        """Whether another process runs this task, which is not even initialised in this one."""
        self.failed: BaseException | None = None
        """What ended this task, if a failure did."""
        self.n_failures: Sum = self.ours._n_failures
        self.n_restarts: Sum = self.ours._n_restarts
        self._health = health
        self._neighbours = neighbours
        self._state = TaskState.NEW
        self._ready = True
        self._stop_reserve = 0.0
        self._lock = threading.Lock()
        self._supervised = False  # whether there has been a worker
        self._to_stop = iter((task,))  # given once
        self._running = self._waiting = 0

    # -- the state of the task ---------------------------------------------------------------------

    @property
    def state(self) -> TaskState:
        """Where the task is in its life. Setting it informs the hooks."""
        return self._state

    @state.setter
    def state(self, new: TaskState) -> None:
        with self._health.changing:
            old, self._state = self._state, new
            if old is not new:
                self._health.task_changed(self.task, old, new)

    @property
    def running(self) -> bool:
        """True from the start of the task until its stop begins."""
        return self._state is not TaskState.NEW and not self.stop_event.is_set()

    @property
    def ready(self) -> bool:
        """Whether the task does its work now, or another process does."""
        works = self._state in (TaskState.ALIVE, TaskState.DEGRADED, TaskState.DONE)
        return self.held or (self._ready and works)

    def set_ready(self, ready: bool) -> None:
        """Note whether the task does its work; from any thread."""
        with self._health.changing:
            self._ready = ready
            self._health.readiness_changed()

    def illness(self) -> str:
        """Return why the task is not able to work; ``""`` if it is."""
        try:
            if self.ours.healthy:
                return ""
        except BaseException as error:  # a check that fails does not decide
            log_error(self.ours.logger, "%s could not say whether it is healthy", self.name)
            return describe(error)
        return f"it is {self._state} and not healthy"

    def seconds_to_stop(self) -> float:
        """Return how many seconds the task has left; see `VTask.seconds_to_stop`."""
        if self.stop_deadline is None:
            return inf
        return max(0.0, self.stop_deadline - self._stop_reserve - monotonic())

    # -- its life, told by the service -------------------------------------------------------------

    def start_returned(self) -> None:
        """Note that the task's ``start`` has returned."""
        with self._health.changing:
            if self._state is TaskState.STARTING:
                self.state = TaskState.ALIVE
                if self._supervised:
                    self.settle()

    def stopping(self, limit: float | None = None) -> None:
        """Note that the task must stop, so that `running` is False before ``stop`` is called.

        Args:
            limit: seconds that it has; None: its ``STOP_TIMEOUT``.
        """
        self.state = TaskState.STOPPING
        limits = [self._health.stop_deadline]
        if (own := self.ours.STOP_TIMEOUT if limit is None else limit) is not None:
            limits.append(monotonic() + own)
        self.stop_deadline = min((each for each in limits if each is not None), default=None)
        if self.stop_deadline is not None:
            left = max(0.0, self.stop_deadline - monotonic())
            self._stop_reserve = min(1.0, left / 4)
        self.stop_event.set()

    def stop(self) -> None:
        """Call the task's ``stop``, once."""
        for _ in self._to_stop:
            self.ours.stop()

    def needs(self) -> list[Task]:
        """Return the tasks of the service that this one depends on, or follows, directly."""
        return [each.task for each in self._neighbours.dependencies(type(self.task))]

    def fail_with(self, error: BaseException) -> None:
        """Note a failure that ends the task."""
        self.failed, self.state = error, TaskState.DEAD

    # -- its workers -------------------------------------------------------------------------------

    def start_worker(self, name: str) -> threading.Thread:
        """Start one worker thread; `RuntimeError` if the system allows no more threads."""
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.joined()
        try:
            thread.start()
        except BaseException:
            self.count(running=-1)
            raise
        return thread

    def _work(self) -> None:
        backoff = Backoff(self.policy)
        delay = self.after(self._run_once(), backoff)
        while delay is not None and self.again(stopped=self.stop_event.wait(delay)):
            delay = self.after(self._run_once(), backoff)
        self.left()

    # What decides for every kind of worker: a thread here, a coroutine in `sparts.tasks.asyncio`.

    def after(self, error: BaseException | None, backoff: Backoff) -> float | None:
        """Note what left a worker (None: it returned), and return the seconds to wait before it
        runs again, or None if it must not.
        """
        try:
            delay = backoff.after(error, monotonic()) if self.running else None
            if error is not None:
                self._report(error, delay)
            if delay is not None:
                self.count(waiting=1)
        except BaseException as broken:  # a log handler, a hook's caller: the worker ends seen
            self.end_service(error or broken)
            return None
        return delay

    def again(self, stopped: bool) -> bool:
        """Note that the wait is over, and return whether the worker runs again."""
        try:
            self.count(waiting=-1)
            if not stopped:
                self.n_restarts.increment()
                self._restarted()
        except BaseException as error:
            self.end_service(error)
            return False
        return not stopped

    def fail(self, error: BaseException) -> None:
        """End the service for what failed outside of any worker."""
        try:
            self._report(error, None)
            self.settle()
        except BaseException:
            self.end_service(error)

    def joined(self) -> None:
        """Note one more worker."""
        with self._lock:
            self._supervised = True
            self._running += 1

    def left(self) -> None:
        """Note that a worker has left for good."""
        try:
            self.count(running=-1)
        except BaseException as error:
            self.end_service(error)
        try:
            if not self._running:
                self.ours._workers_left()
        except BaseException as error:
            self.end_service(error)

    def _run_once(self) -> BaseException | None:
        try:
            call_plain(self.ours.initTaskThread)
            call_plain(self.ours._runloop)
        except BaseException as error:  # nothing ends unseen
            return error
        return None

    def end_service(self, error: BaseException) -> None:
        """Have the service stop, for a failure or as a `SystemExit` asks. Nothing here can raise.

        This is the last resort of whatever runs the task's work.
        """
        if not isinstance(error, SystemExit | KeyboardInterrupt):
            self.failed = self.failed or error
        self._health.worker_left(self, error)

    def _restarted(self) -> None:
        """Inform the tasks that depend on this one that its worker runs again after a failure."""
        for each in self._neighbours.dependants(self.task):
            try:
                each.ours.on_dependency_restarted(self.task)
            except BaseException:
                text = "%s could not take the restart of %s"
                log_error(each.ours.logger, text, each.name, self.name)

    def _report(self, error: BaseException, delay: float | None) -> None:
        self.n_failures.increment()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.end_service(error)
            return
        refused = isinstance(error, TaskStoppedError) and delay is None
        if refused and any(each.state in _STOPS for each in self._neighbours):
            self.ours.logger.warning("%s ends: %s", self.name, message_of(error))
            return
        if delay is None:
            tail = "the service ends" if self.running else "while it was being stopped"
            self.end_service(error)  # before whatever may hang: a log that nobody reads, a hook
        else:
            tail = f"restarted in {delay:.3g} s"
        text = "%s failed: %s; %s"
        log_error(self.ours.logger, text, self.name, describe(error), tail, error=error)
        self._health.tell("sparts_task_failure", task=self.task, error=error, delay=delay)

    def count(self, running: int = 0, waiting: int = 0) -> None:
        """Note that workers have begun or ended, or that some wait to run again, or no more."""
        with self._lock:
            self._running += running
            self._waiting += waiting
        self.settle()

    def settle(self) -> None:
        """Set the state of the started task by what its workers do."""
        with self._health.changing:
            if self._state not in (TaskState.ALIVE, TaskState.DEGRADED):
                return
            if not self._running:
                self.state = TaskState.DEAD if self.failed else TaskState.DONE
            else:
                self.state = TaskState.DEGRADED if self._waiting else TaskState.ALIVE
