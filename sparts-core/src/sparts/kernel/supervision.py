"""What happens when a task fails: restart, back-off, the end of the service.

| what leaves a worker | outcome |
|---|---|
| nothing (it returns) | the worker is done; the service goes on (``RESTART = "always"``: it is
restarted) |
| an `Exception`, or any that is not named below | restarted if the task's ``RESTART`` says so,
else the service ends with status 1 |
| `MemoryError` | never restarted: the service ends with status 1 |
| `SystemExit` | the service shuts down in order and exits with its code |
| `KeyboardInterrupt` | the service shuts down in order, as by ^C |
| any of them after the stop began | logged; the stop goes on; status 1 (`SystemExit`: its code) |
"""

from __future__ import annotations

import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from sparts.clock import retry_delay
from sparts.errors import FATAL, UsageError, describe, log_error
from sparts.states import TaskState

if TYPE_CHECKING:
    from sparts.vtask import VTask


class RestartPolicy(NamedTuple):
    """When, how soon and how often a failed worker is restarted.

    By default a worker is restarted without end, so that a service survives an outage of what it
    needs. Meanwhile the service has the status WARNING. ``limit`` makes it give up.
    """

    mode: str = "never"
    """``"never"``, ``"on-failure"`` or ``"always"`` (also when it returns by itself)."""
    first_wait: float = 0.1
    """Seconds before the first restart; the wait doubles with each failure in a row."""
    max_wait: float = 30.0
    """Seconds that a wait grows to at most."""
    jitter: float = 0.1
    """The share of the wait that is random, so that services do not restart in step."""
    limit: int | None = None
    """How many failures in a row are followed by a restart; one more ends the service. None: all
    are."""
    window: float = 60.0
    """Seconds that a restarted worker must run for before its next failure starts a new row, and
    before the warning of the service goes."""

    @classmethod
    def of(cls, task: VTask) -> RestartPolicy:
        """Return the policy that a task's ``RESTART`` means: a policy, or just its mode.

        Raises:
            UsageError: it is neither.
        """
        policy = task.RESTART if isinstance(task.RESTART, cls) else cls(str(task.RESTART))
        if policy.mode not in ("never", "on-failure", "always"):
            raise UsageError(
                f"{task.name}.RESTART is {task.RESTART!r}: use 'never', 'on-failure', 'always' or "
                f"a sparts.vtask.RestartPolicy."
            )
        return policy


class Backoff:
    """How long one worker waits after each of its failures."""

    def __init__(self, policy: RestartPolicy) -> None:
        self.failures: int = 0
        """How many failures there have been in a row."""
        self._policy = policy
        self._restarted = -inf

    def next(self, now: float) -> float:
        """Note a failure at a monotonic time, and return the seconds to wait before a restart."""
        policy = self._policy
        if now - self._restarted > policy.window:
            self.failures = 0
        wait = retry_delay(self.failures, policy.first_wait, policy.max_wait, policy.jitter)
        self.failures += 1
        self._restarted = now + wait
        return wait


class Supervisor:
    """Runs the workers of one task, and decides what their failures lead to. Safe for threads."""

    def __init__(self, task: VTask) -> None:
        self.task = task
        self.policy: RestartPolicy = RestartPolicy.of(task)
        self._lock = threading.Lock()
        self._running = 0
        self._waiting = 0

    def start_worker(self, name: str) -> threading.Thread:
        """Start one worker thread; `RuntimeError` if the system allows no more threads."""
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.joined()
        try:
            thread.start()
        except BaseException:
            self._count(running=-1)
            raise
        return thread

    def _work(self) -> None:
        backoff = Backoff(self.policy)
        delay = self.after(self._run_once(), backoff)
        while delay is not None and self.again(stopped=self.task.stop_event.wait(delay)):
            delay = self.after(self._run_once(), backoff)
        self.left()

    # What decides for every kind of worker: a thread here, a coroutine in `sparts.tasks.asyncio`.

    def after(self, error: BaseException | None, backoff: Backoff) -> float | None:
        """Note what left a worker (None: it returned), and return the seconds to wait before it
        runs again, or None if it shall not.
        """
        try:
            delay = self._delay(error, backoff)
            if error is not None:
                self._report(error, delay)
            if delay is not None:
                self.pause()
        except BaseException as broken:  # a log handler, a hook's caller: the worker ends seen
            self._end_service(error or broken)
            return None
        return delay

    def again(self, stopped: bool) -> bool:
        """Note that the wait is over, and return whether the worker runs again."""
        try:
            self.resume()
            if not stopped:
                self.task.n_restarts.increment()
                self.task.restarted()
        except BaseException as error:
            self._end_service(error)
            return False
        return not stopped

    def pause(self) -> None:
        """Note that a worker waits to run again."""
        self._count(waiting=1)
        self.settle()

    def resume(self) -> None:
        """Note that a worker waits no more."""
        self._count(waiting=-1)
        self.settle()

    def fail(self, error: BaseException) -> None:
        """End the service for what failed outside of any worker."""
        try:
            self._report(error, None)
            self.settle()
        except BaseException:
            self._end_service(error)

    def joined(self) -> None:
        """Note one more worker."""
        self._count(running=1)

    def left(self) -> None:
        """Note that a worker has left for good."""
        self._count(running=-1)
        for step in (self.settle, *(() if self._running else (self.task.workers_left,))):
            try:
                step()
            except BaseException as error:
                self._end_service(error)

    def _run_once(self) -> BaseException | None:
        try:
            self.task.initTaskThread()
            self.task._runloop()
        except BaseException as error:  # nothing ends unseen
            return error
        return None

    def _delay(self, error: BaseException | None, backoff: Backoff) -> float | None:
        """Return the seconds to wait before the worker runs again, or None if it shall not."""
        policy, again = self.policy, ("on-failure", "always")
        restartable = not isinstance(error, FATAL)
        wanted = policy.mode == "always" if error is None else restartable and policy.mode in again
        if not wanted or not self.task.running:
            return None
        wait = backoff.next(monotonic())
        gives_up = policy.limit is not None and backoff.failures > policy.limit
        return None if error is not None and gives_up else wait

    def _end_service(self, error: BaseException) -> None:
        """Have the service stop for a failure. This is the last resort: nothing here can raise."""
        self.task.failed = self.task.failed or error
        self.task.service.worker_left(self.task, error)

    def _report(self, error: BaseException, delay: float | None) -> None:
        task = self.task
        task.n_failures.increment()
        if isinstance(error, SystemExit | KeyboardInterrupt):
            task.service.worker_left(task, error)
            return
        if delay is None:
            tail = "the service ends" if task.running else "while it was being stopped"
            self._end_service(error)  # before whatever may hang: a log that nobody reads, a hook
        else:
            tail = f"restarted in {delay:.3g} s"
        text = "%s failed: %s; %s"
        log_error(task.logger, text, task.name, describe(error), tail, error=error)
        task.service.tell("sparts_task_failure", task=task, error=error, delay=delay)

    def _count(self, running: int = 0, waiting: int = 0) -> None:
        with self._lock:
            self._running += running
            self._waiting += waiting

    def settle(self) -> None:
        """Set the state of the started task by what its workers do."""
        task = self.task
        with task.service.changing:
            if task.state not in (TaskState.ALIVE, TaskState.DEGRADED):
                return
            if not self._running:
                task.state = TaskState.DEAD if task.failed else TaskState.DONE
            else:
                task.state = TaskState.DEGRADED if self._waiting else TaskState.ALIVE
