"""AsyncPeriodicTask: a coroutine that runs again and again."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from sparts.base_work import must_override
from sparts.calls import InContext, around_work
from sparts.clock import CallingCondition, timeout_of
from sparts.tasks.asyncio import AsyncioTask
from sparts.tasks.forms import fitting, told
from sparts.tasks.periodic import ExecuteContext, PeriodicTask, TryLater
from sparts.tasks.runs import Runs

if TYPE_CHECKING:
    from sparts.clock import Clock
    from sparts.tasks.runs import Run, Worker
    from sparts.vservice import VService

__all__ = ["AsyncPeriodicTask", "ExecuteContext", "TryLater"]


class AsyncPeriodicTask(AsyncioTask, PeriodicTask):
    """Awaits `execute` at ``start + n x interval``; all that `PeriodicTask` says holds for it.

    One run at a time. At the stop, the run that is under way goes on to its end, and is cancelled
    shortly before the time for the stop is over.
    """

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._runs: _AsyncRuns = _AsyncRuns(self)

    @must_override
    async def execute(self, context: ExecuteContext | None = None) -> Any:
        """Do the work of one run; called in the loop, never twice at a time.

        What it returns is the result of the futures of `execute_async`. `TryLater` has it called
        again later, with the same context and one more attempt; futures wait on. Any other
        exception goes to the futures and then leaves the worker: by default the service ends.
        """
        raise NotImplementedError(f"{self.name} has nothing to do: write its execute().")

    async def run(self) -> None:
        """Call `execute` when it is due or asked for."""
        runs = self._runs
        execute = fitting(self.execute, 1)
        self._work_on = around_work(self, lambda _, context: execute(context), is_async=True)
        with runs.worker(self._make_schedule()) as worker:
            while (run := await runs.next_async(worker, type(self).clock)) is not None:
                await self._attempt(run)
                await self._outlive_work(asyncio.current_task())

    async def _attempt(self, run: Run) -> None:
        began = type(self).clock.monotonic()
        run.context.begin()
        try:
            try:
                variables = run.context.variables = run.context.variables or copy_context()
                work = variables.run(self._work_on, None, run.context)
                result = await InContext(variables, work)
            finally:
                self._took(run, type(self).clock.monotonic() - began)
        except TryLater as later:
            self._put_off(run, later)
        except BaseException as error:
            ends = self._told_to_stop.is_set() or not self.loop_task.open
            if ends and isinstance(error, asyncio.CancelledError):  # not for what execute does
                self._runs.give_up(run.futures)
                raise
            self._failed(run, error)
        else:
            self._runs.settle(run.futures, "set_result", result)

    def stop_in_loop(self) -> Any:
        """Wait for the run that is under way, and cancel it if there is no more time for it."""
        return self._end_workers(timeout_of(self.seconds_to_stop()))


class _AsyncRuns(Runs):
    """Runs that coroutines take, in the loop that their task lives on."""

    def __init__(self, task: AsyncPeriodicTask) -> None:
        super().__init__(task.name, task.stop_event, partial(told, task))
        self.wakeup = CallingCondition(lambda: task.loop_task.post_if_open(self._wake))
        self._waiting: WeakSet[asyncio.Event] = WeakSet()  # one for each worker

    def _wake(self) -> None:
        for woken in self._waiting:
            woken.set()

    async def next_async(self, worker: Worker, clock: Clock) -> Run | None:
        """Wait for something to do, and take it; None when it is over. See `Runs.next`."""
        woken = asyncio.Event()
        self._waiting.add(woken)
        if worker.schedule is not None and not worker.schedule.interval:
            await asyncio.sleep(0)  # runs without a pause leave the loop to others, too
        while not self.over:
            woken.clear()
            with self.wakeup:
                due = worker.due()
                run = self.take(worker, due, clock)
            if run is not None:
                return run
            await clock.wait_async(woken, due)
        self.cancel()
        return None
