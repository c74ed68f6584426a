"""The runs of one task: asked for, due by a schedule, put off; handed to its worker one by one."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.context import ExecuteContext

if TYPE_CHECKING:
    from sparts.clock import Clock
    from sparts.tasks.schedules import Schedule


class Run(NamedTuple):
    """One run, with all its attempts: its context, who waits for it, how many it makes up for."""

    context: ExecuteContext
    futures: list[Future[Any]]
    missed: int = 0


class Runs:
    """Decides when a task runs. All methods may be called from any thread, `next` by the worker.

    It is no part of the task's class on purpose: with a thousand task types in one service, the
    interpreter's caches work for one class of this and not for a thousand.

    Args:
        name: the task's, for errors.
        stop_event: set when the task shall stop.
    """

    def __init__(self, name: str, stop_event: threading.Event) -> None:
        """Begin with nothing to do."""
        self.name = name
        self.schedule: Schedule | None = None
        """When to run without being asked; None: never."""
        self.wakeup = threading.Condition()  # guards what follows
        self._stop_event = stop_event
        self._triggered = False
        self._asked: list[Future[Any]] = []
        self._again: Run | None = None
        self._again_at: float | None = None
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether no run begins any more."""
        return self._ended or self._stop_event.is_set()

    def trigger(self) -> None:
        """Have a run begin as soon as possible."""
        with self.wakeup:
            self._triggered = not self.over
            self.wakeup.notify_all()

    def ask(self) -> Future[Any]:
        """Have a run begin as soon as possible, and give its future."""
        future: Future[Any] = Future()
        with self.wakeup:
            if not self.over:
                self._asked.append(future)
                self.wakeup.notify_all()
                return future
        future.cancel()
        return future

    def pending(self) -> bool:
        """Whether a run was asked for or put off, and has not begun."""
        with self.wakeup:
            return self._triggered or self._again is not None or bool(self._asked)

    def end(self) -> None:
        """Have no run begin any more."""
        with self.wakeup:
            self._ended = True
        self.cancel()

    def cancel(self) -> None:
        """Cancel what waits, and wake the worker to look whether it is over."""
        with self.wakeup:
            futures, self._asked = self._asked, []
            if self._again is not None:
                futures += self._again.futures
                self._again = None
            self._triggered = False
            self.wakeup.notify_all()
        self._cancel(futures)

    def _cancel(self, futures: list[Future[Any]]) -> None:
        for future in futures:
            if not future.cancel() and not future.done():  # it was begun, and then put off
                future.set_exception(CancelledError(f"{self.name} ended before it tried again."))

    def next(self, clock: Clock) -> Run | None:
        """Wait for something to do, and take it; None when it is over."""
        monotonic = clock.monotonic
        with self.wakeup:
            while not self.over:
                due = self._due()
                on_time = due is not None and monotonic() >= due
                if not (on_time or self._triggered or self._asked):
                    clock.wait(self.wakeup, due)
                elif (run := self._take(on_time, monotonic())) is not None:
                    return run
        self.cancel()
        return None

    def _due(self) -> float | None:
        if self._again is not None and self._again_at is not None:
            return self._again_at
        return self.schedule.due() if self.schedule is not None else None

    def _take(self, on_time: bool, now: float) -> Run | None:
        """Take what there is to do; None if all of it was cancelled."""
        futures, self._asked = self._asked, []
        if futures:
            futures = [future for future in futures if future.set_running_or_notify_cancel()]
        if not (futures or self._triggered or on_time):
            return None
        self._triggered = False
        schedule, again, missed = self.schedule, self._again, 0
        if on_time and schedule is not None and (again is None or now >= schedule.due()):
            missed = schedule.passed(now)
        if again is None:
            return Run(ExecuteContext(future=futures[0] if futures else None), futures, missed)
        self._again = None
        return Run(again.context, again.futures + futures, missed)

    def put_off(self, run: Run, until: float | None) -> None:
        """Have the run attempted again at a monotonic time; None: at the schedule's next."""
        run.context.attempt += 1
        with self.wakeup:
            if not self.over:
                others = self._again.futures if self._again is not None else []
                self._again, self._again_at = Run(run.context, others + run.futures), until
                return
        self._cancel(run.futures)
