"""The runs of one task: asked for, due by a schedule, put off; handed to its workers one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.context import ExecuteContext

if TYPE_CHECKING:
    from sparts.clock import Clock
    from sparts.tasks.schedules import Schedule


class Worker:
    """One worker, with a schedule of its own and the run that it put off."""

    __slots__ = ("again", "again_at", "futures", "schedule")

    def __init__(self, schedule: Schedule | None) -> None:
        self.schedule: Schedule | None = schedule
        """When to run without being asked; None: never."""
        self.again: Run | None = None
        self.again_at: float | None = None
        self.futures: list[Future[Any]] = []
        """Those that wait for the run under way."""

    def due(self) -> float | None:
        """Return when it has something to do without being asked, by the monotonic clock."""
        if self.again is not None and self.again_at is not None:
            return self.again_at
        return self.schedule.due() if self.schedule is not None else None


class Run(NamedTuple):
    """One run, with all its attempts: its context, who waits for it, how many it makes up for."""

    worker: Worker
    context: ExecuteContext
    futures: list[Future[Any]]
    missed: int = 0


class Runs:
    """Decides when a task runs. All methods may be called from any thread, `next` by the worker.

    It is no part of the task's class on purpose: with a thousand task types in one service, the
    interpreter's caches work for one class of this and not for a thousand.

    Args:
        name: the task's, for errors.
        stop_event: set when the task must stop.
        told: calls a function with arguments, and logs what it raises.
    """

    def __init__(self, name: str, stop_event: threading.Event, told: Callable[..., None]) -> None:
        """Begin with nothing to do."""
        self.name = name
        self._told = told
        self.workers: list[Worker] = []
        self.wakeup: threading.Condition = threading.Condition()  # guards what follows
        self._stop_event = stop_event
        self._triggered = False
        self._variables: Context | None = None  # of who asked first
        self._asked: list[Future[Any]] = []
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether no run begins any more."""
        return self._ended or self._stop_event.is_set()

    def trigger(self) -> None:
        """Have a run begin as soon as possible."""
        with self.wakeup:
            self._note_variables()
            self._triggered = not self.over
            self.wakeup.notify_all()

    def ask(self) -> Future[Any]:
        """Have a run begin as soon as possible, and give its future."""
        future: Future[Any] = Future()
        with self.wakeup:
            if not self.over:
                self._note_variables()
                self._asked.append(future)
                self.wakeup.notify_all()
                return future
        self.give_up([future])
        return future

    def _note_variables(self) -> None:
        if not (self._triggered or self._asked):
            self._variables = copy_context() or None

    def pending(self) -> bool:
        """Whether a run was asked for or put off, and has not begun, or a future waits for one."""
        with self.wakeup:
            waiting = [w.again or not all(map(Future.done, w.futures)) for w in self.workers]
            return any(waiting) or self._triggered or bool(self._asked)

    def end(self) -> None:
        """Have no run begin any more."""
        with self.wakeup:
            self._ended = True
        self.cancel()

    def cancel(self) -> None:
        """Cancel what waits, and wake the worker to look whether it is over."""
        with self.wakeup:
            futures, self._asked = self._asked, []
            for worker in self.workers:
                if worker.again is not None:
                    futures += worker.again.futures
                    worker.again = None
            self._triggered = False
            self.wakeup.notify_all()
        self.give_up(futures)

    def give_up(self, futures: list[Future[Any]]) -> None:
        """Cancel the futures of runs that do not come, or were cancelled."""
        error = CancelledError(f"{self.name} ended before it tried again.")  # if it was begun
        self.settle(futures, "set_exception", error)

    def settle(self, futures: list[Future[Any]], method: str, outcome: Any) -> None:
        """End futures, each, by a method of `ExecuteContext`, whatever their callbacks raise."""
        for future in futures:
            self._told(getattr(ExecuteContext(future=future), method), outcome)

    @contextmanager
    def worker(self, schedule: Schedule | None) -> Iterator[Worker]:
        """Have one more worker, which runs by a schedule of its own (None: only when asked)."""
        worker = Worker(schedule)
        unwatch = schedule.watch(self._notify) if schedule is not None else None
        with self.wakeup:
            self.workers.append(worker)
        try:
            yield worker
        finally:
            with self.wakeup:
                self.workers.remove(worker)
            if unwatch is not None:
                unwatch()

    def _notify(self) -> None:
        with self.wakeup:
            self.wakeup.notify_all()

    def next(self, worker: Worker, clock: Clock) -> Run | None:
        """Wait for something to do, and take it; None when it is over."""
        with self.wakeup:
            worker.futures = []
            while not self.over:
                due = worker.due()
                if (run := self.take(worker, due, clock)) is not None:
                    return run
                clock.wait(self.wakeup, due)
        self.cancel()
        return None

    def take(self, worker: Worker, due: float | None, clock: Clock) -> Run | None:
        """Take what there is to do now, with the lock held; None: nothing, or it was cancelled."""
        now = clock.monotonic()
        on_time = due is not None and now >= due
        futures, self._asked = self._asked, []
        futures = [future for future in futures if future.set_running_or_notify_cancel()]
        if not (futures or self._triggered or on_time):
            return None
        self._triggered = False
        variables, self._variables = self._variables, None
        schedule, again, missed = worker.schedule, worker.again, 0
        if on_time and schedule is not None and (again is None or now >= schedule.due()):
            missed = schedule.passed(now)
        worker.futures = futures if again is None else again.futures + futures
        if again is None:
            context = ExecuteContext(future=futures[0] if futures else None)
            context.variables = variables
            return Run(worker, context, futures, missed)
        worker.again = None
        return Run(worker, again.context, worker.futures, missed)

    def put_off(self, run: Run, until: float | None) -> None:
        """Have the run attempted again at a monotonic time; None: at the schedule's next."""
        run.context.attempt += 1
        with self.wakeup:
            if not self.over:
                run.worker.again, run.worker.again_at = run, until
                return
        self.give_up(run.futures)
