"""EventTask: work that is done when somebody asks for it."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sparts.base_work import must_override
from sparts.calls import CallRefusedError, around_work
from sparts.clock import SYSTEM, Clock
from sparts.context import ExecuteContext
from sparts.counters import counter, own, samples
from sparts.errors import FATAL, TryLater, describe, refuse_coroutine
from sparts.tasks.forms import durations, fitting, told
from sparts.tasks.runs import Run, Runs, Worker
from sparts.vtask import VTask

if TYPE_CHECKING:
    from concurrent.futures import Future

    from sparts.tasks.schedules import Schedule
    from sparts.vservice import VService

__all__ = ["EventTask", "ExecuteContext", "TryLater"]


class EventTask(VTask):
    """Calls `execute` in its worker thread whenever `trigger` was called, from any thread.

    One run at a time: triggers that arrive during a run, or before it, are answered by one more.
    (With more than one of ``workers``, runs may overlap.)
    An exception in `execute` reaches those who wait for that run, and then leaves the worker,
    unless ``ON_ERROR`` says otherwise; see `sparts.vtask.RestartPolicy`. An exception that is no
    `Exception`, such as `asyncio.CancelledError`, does not leave the worker if somebody waits.
    `SystemExit`, `KeyboardInterrupt` and `MemoryError` always leave it.
    """

    RETRY_AFTER: float = 1.0
    """Seconds until the next attempt after a `TryLater` that does not say when."""
    ON_ERROR: ClassVar[Literal["shutdown", "log"]] = "shutdown"
    """What an exception in `execute` does: ``"shutdown"`` (it leaves the worker, so that the
    service ends, or ``RESTART`` applies) or ``"log"`` (the next run is due as usual)."""
    CALL_KIND: ClassVar[str] = "event"
    clock: Clock = SYSTEM
    """Where time comes from; a test puts its own here, on the class or before the start."""

    execute_duration_ms: samples = durations()
    n_iterations: counter = counter(help="Calls of execute.")
    n_try_later: counter = counter(help="Calls of execute that ended with TryLater.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._runs = Runs(self.name, self._supervisor.stop_event, partial(told, self))

    # -- to override -------------------------------------------------------------------------------

    @must_override
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
        self._runs.trigger()

    def execute_async(self) -> Future[Any]:
        """Have `execute` called as soon as possible, and return the future of that run.

        A run that is under way does not count. The future always ends: with what `execute` returns
        or raises, or cancelled if the task ends before; at once if it has ended already.
        """
        return self._runs.ask()

    def has_pending(self) -> bool:
        """Whether a run that was asked for, or that `TryLater` put off, has not begun yet.

        Also in `execute`, while a future of `execute_async` waits for this run.
        """
        return self._runs.pending()

    def end_schedule(self) -> None:
        """End this task's work while the service goes on; also from within `execute`.

        A run that is under way is the last. Runs asked for but not begun are cancelled.
        """
        self._runs.end()

    # -- the worker --------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the worker end after the run that is under way; cancel those not begun."""
        super().stop()
        self._runs.cancel()

    def _workers_left(self) -> None:
        """Cancel the runs that were asked for, and take no more: no worker is left for them."""
        super()._workers_left()
        self._runs.end()

    def _make_schedule(self) -> Schedule | None:
        """Make the schedule of one worker, from now on; None: it runs only when it is asked."""
        return None

    def _runloop(self) -> None:
        with self._runs.worker(self._make_schedule()) as worker:
            self._work(worker)

    def _work(self, worker: Worker) -> None:
        runs, clock, own = self._runs, type(self).clock, copy_context().copy
        run_one = fitting(self.execute, 1)
        execute = around_work(self, lambda _, context: run_one(context))
        while (run := runs.next(worker, clock)) is not None:
            began = clock.monotonic()
            run.context.begin(self)
            try:
                try:
                    variables = run.context.variables = run.context.variables or own()
                    result = variables.run(execute, None, run.context)
                    if type(result) is CoroutineType:
                        refuse_coroutine(result, self.name, "execute")
                finally:
                    self._took(run, clock.monotonic() - began)
            except TryLater as later:
                self._put_off(run, later)
            except BaseException as error:
                self._failed(run, error)
            else:
                runs.settle(run.futures, "set_result", result)

    def _failed(self, run: Run, error: BaseException) -> None:
        """End the futures of a run, and raise its error if that must leave the worker."""
        self._runs.settle(run.futures, "set_exception", error)
        awaited = bool(run.futures) and not isinstance(error, Exception)
        refused = isinstance(error, CallRefusedError)  # by a plugin: no fault of the worker
        if isinstance(error, FATAL) or not (awaited or refused or self.ON_ERROR == "log"):
            raise error
        cause = None if refused else error
        self.logger.error("A run of %s failed: %s", self.name, describe(error), exc_info=cause)

    def _took(self, run: Run, seconds: float) -> None:
        """Count a run, and how long it took."""
        own(self, EventTask.n_iterations).increment()
        own(self, EventTask.execute_duration_ms).add(seconds * 1000)

    def _put_off(self, run: Run, later: TryLater) -> None:
        own(self, EventTask.n_try_later).increment()
        after = later.after
        if after is None and run.worker.schedule is None:
            after = self.RETRY_AFTER
        when = "at its next time" if after is None else f"in {after:g} s"
        self.logger.debug("Attempt %d put off, again %s: %s", run.context.attempt, when, later)
        self._runs.put_off(run, None if after is None else type(self).clock.monotonic() + after)
