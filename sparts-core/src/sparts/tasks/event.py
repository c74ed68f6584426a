"""EventTask: work that is done when somebody asks for it."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.clock import SYSTEM, Clock
from sparts.context import ExecuteContext
from sparts.counters import SampleType, counter, samples
from sparts.errors import TryLater
from sparts.vtask import VTask

if TYPE_CHECKING:
    from sparts.vservice import VService

__all__ = ["EventTask", "ExecuteContext", "TryLater"]


class _Run(NamedTuple):
    """One run, from when it is asked for: its context, who waits for it, when it is due again."""

    context: ExecuteContext
    futures: list[Future[Any]]
    due: float | None = None


class EventTask(VTask):
    """Calls `execute` in its worker thread whenever `trigger` was called, from any thread.

    One run at a time: triggers that arrive during a run, or before it, are answered by one more.
    An exception in `execute` reaches those who wait for that run, and then leaves the worker; see
    `sparts.supervision`.
    """

    RETRY_AFTER: float = 1.0
    """Seconds until the next attempt after a `TryLater` that does not say when."""
    clock: Clock = SYSTEM
    """Where time comes from; a test puts its own here, on the class or before the start."""

    execute_duration_ms = samples(
        types=[SampleType.AVG, SampleType.MAX, SampleType.MIN],
        windows=[60, 240],
        help="How long execute took.",
        unit="ms",
    )
    n_iterations = counter(help="Calls of execute.")
    n_try_later = counter(help="Calls of execute that ended with TryLater.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._wakeup = threading.Condition()  # guards what follows
        self._triggered = False
        self._asked: list[Future[Any]] = []
        self._again: _Run | None = None
        self._ended = False

    # -- to override -------------------------------------------------------------------------------

    def execute(self, context: ExecuteContext | None = None) -> Any:
        """Do the work; called in the worker thread, never twice at a time.

        What it returns is the result of the futures of `execute_async`. `TryLater` has it called
        again later, with the same context and one more attempt; futures wait on. Any other
        exception goes to the futures and then leaves the worker: by default the service ends.
        """
        raise NotImplementedError(f"{self.name} has nothing to do: write its execute().")

    # -- to use, from any thread -------------------------------------------------------------------

    def trigger(self) -> None:
        """Have `execute` called as soon as possible; without effect once the task has ended."""
        with self._wakeup:
            self._triggered = True
            self._wakeup.notify_all()

    def execute_async(self) -> Future[Any]:
        """Have `execute` called as soon as possible, and return the future of that run.

        A run that is under way does not count. The future always ends: with what `execute` returns
        or raises, or cancelled if the task ends before; at once if it has ended already.
        """
        future: Future[Any] = Future()
        with self._wakeup:
            if not self._over:
                self._asked.append(future)
                self._wakeup.notify_all()
                return future
        future.cancel()
        return future

    def has_pending(self) -> bool:
        """Whether a run that was asked for, or that `TryLater` put off, has not begun yet."""
        with self._wakeup:
            return self._triggered or self._again is not None or bool(self._asked)

    def end_schedule(self) -> None:
        """End this task's work while the service goes on; also from within `execute`.

        A run that is under way is the last. Runs asked for but not begun are cancelled.
        """
        with self._wakeup:
            self._ended = True
        self._cancel_waiting()

    # -- the worker --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the worker end after the run that is under way; cancel those not begun."""
        super().stop()
        self._cancel_waiting()

    def _cancel_waiting(self) -> None:
        with self._wakeup:
            futures, self._asked = self._asked, []
            if self._again is not None:
                futures += self._again.futures
                self._again = None
            self._triggered = False
            self._wakeup.notify_all()
        for future in futures:
            self._cancel(future)

    def _cancel(self, future: Future[Any]) -> None:
        if not future.cancel() and not future.done():  # it was begun, and put off by TryLater
            future.set_exception(CancelledError(f"{self.name} ended before it could try again."))

    @property
    def _over(self) -> bool:
        return self._ended or self.stop_event.is_set()

    def _runloop(self) -> None:
        while (run := self._next_run()) is not None:
            self._execute(run)

    def _next_run(self) -> _Run | None:
        """Wait for something to do, and take it; None when the task ends."""
        with self._wakeup:
            while not self._over:
                run = self._take(self.clock.monotonic())
                if run is not None:
                    return run
                self.clock.wait(self._wakeup, self._next_due())
        self._cancel_waiting()
        return None

    def _next_due(self) -> float | None:
        """When to wake at the latest, by the monotonic clock; None: when asked."""
        return self._again.due if self._again is not None else None

    def _take(self, now: float) -> _Run | None:
        """Take what there is to do now; called with ``_wakeup`` held."""
        futures = [future for future in self._asked if future.set_running_or_notify_cancel()]
        due = self._next_due()
        on_time = due is not None and now >= due
        self._asked = []
        if not (futures or self._triggered or on_time):
            return None
        self._triggered = False
        if on_time:
            self._passed(now)
        again, self._again = self._again, None
        if again is not None:
            return _Run(again.context, again.futures + futures)
        return _Run(ExecuteContext(future=futures[0] if futures else None), futures)

    def _passed(self, now: float) -> None:
        """Note that what was due at ``now`` begins; for tasks with a schedule."""

    def _execute(self, run: _Run) -> None:
        began = self.clock.monotonic()
        run.context.begin()
        try:
            try:
                result = self.execute(run.context)
            finally:
                self._count(self.clock.monotonic() - began)
        except TryLater as later:
            self._put_off(run, later)
        except BaseException as error:
            for future in run.futures:
                future.set_exception(error)
            raise
        else:
            for future in run.futures:
                future.set_result(result)

    def _count(self, seconds: float) -> None:
        """Count a run that took so many seconds."""
        self.n_iterations.increment()
        self.execute_duration_ms.add(seconds * 1000)

    def _put_off(self, run: _Run, later: TryLater) -> None:
        self.n_try_later.increment()
        after = later.after if later.after is not None else self._retry_after()
        when = "at its next time" if after is None else f"in {after:g} s"
        self.logger.debug("Attempt %d put off, again %s: %s", run.context.attempt, when, later)
        run.context.attempt += 1
        due = None if after is None else self.clock.monotonic() + after
        with self._wakeup:
            if not self._over:
                self._again = run._replace(due=due)
                return
        for future in run.futures:
            self._cancel(future)

    def _retry_after(self) -> float | None:
        """Seconds until the next attempt when `TryLater` does not say; None: at the next time."""
        return self.RETRY_AFTER
