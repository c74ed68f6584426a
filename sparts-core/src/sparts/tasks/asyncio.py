"""Asyncio: coroutines as the workers of tasks, on a loop that is a task."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.base_work import must_override
from sparts.errors import TaskFailedError, format_coroutine
from sparts.established import TaskReference
from sparts.loops import LoopBoundTask
from sparts.supervision import Backoff
from sparts.tasks.asyncio_loop import AsyncioLoopTask

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparts.vservice import VService

__all__ = ["AsyncioLoopTask", "AsyncioTask"]


class AsyncioTask(LoopBoundTask):
    """Coroutines as workers: `run` lives on the loop of an `AsyncioLoopTask`.

    Each is supervised as a worker thread is, by ``RESTART`` (`sparts.vtask.RestartPolicy`). When
    the loop has failed and runs again, so do they. ``workers`` says how many of them there are.
    """

    LOOP: ClassVar[TaskReference] = AsyncioLoopTask

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._coroutines: list[asyncio.Task[None]] = []
        self._interrupted: set[asyncio.Task[None]] = set()  # by a failure of the loop
        self._told_to_stop = asyncio.Event()  # a new one for each loop

    @must_override
    async def run(self) -> None:
        """Do the work; called in the loop, after `start` and at each restart.

        When it returns, the worker is done. It is cancelled at the stop, and may then take as long
        as the service may to stop. What it raises counts as an exception of a worker; so does a
        cancellation that has another cause.
        """
        raise NotImplementedError(f"{self.name} has nothing to do: write its run().")

    def start_in_loop(self) -> Any:
        """Start the workers, without waiting for them."""
        self._told_to_stop = asyncio.Event()
        if not self._coroutines:
            for index in range(self.workers):
                self._supervisor.joined()
                self._coroutines.append(self._start_worker(index))
            return
        for index, before in enumerate(self._coroutines):  # the loop was restarted
            if before in self._interrupted:
                self._supervisor.count(waiting=-1)
            elif before.done():
                continue  # and stays so
            self._coroutines[index] = self._start_worker(index)
        self._interrupted.clear()

    def _start_worker(self, index: int) -> asyncio.Task[None]:
        name = self._supervisor.logger.name + (f"-{index}" if self.workers > 1 else "")
        worker = asyncio.get_running_loop().create_task(self._supervise(), name=name)
        worker.add_done_callback(self._left)
        return worker

    def stop_in_loop(self) -> Any:
        """Cancel the workers, and wait for their end."""
        return self._end_workers(0.0)

    async def _end_workers(self, seconds: float | None) -> None:
        """Wait for the end of the workers; cancel those that have not ended after ``seconds``."""
        self._told_to_stop.set()
        left: Iterable[asyncio.Task[None]] = [w for w in self._coroutines if not w.done()]
        if left and seconds != 0:
            left = (await asyncio.wait(left, timeout=seconds))[1]
        for worker in left:
            worker.cancel()
        if left:
            await asyncio.wait(left)

    async def _supervise(self) -> None:
        supervisor, backoff = self._supervisor, Backoff(self._supervisor.policy)
        delay = supervisor.after(await self._run_once(), backoff)
        while delay is not None and supervisor.again(stopped=await self._stopped_within(delay)):
            delay = supervisor.after(await self._run_once(), backoff)

    async def _run_once(self) -> BaseException | None:
        try:
            await self.run()
        except asyncio.CancelledError as error:
            if not self.loop_task.open:  # the loop has failed, and run() did not
                raise
            if self._supervisor.running:
                failure = TaskFailedError("run() was cancelled, and not by the stop of the task")
                failure.__cause__ = error
                return failure
        except BaseException as error:  # nothing ends unseen
            return error
        return None

    async def _outlive_work(self, worker: Any) -> None:
        """Take back what cancels the worker, its task, by work that has ended; called by it."""
        while worker.cancelling() and self.loop_task.open:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            worker.uncancel()

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told_to_stop.wait(), seconds)
        except asyncio.CancelledError:
            if not self.loop_task.open:
                self._supervisor.count(waiting=-1)
                raise
        return not self._supervisor.running

    def _left(self, worker: asyncio.Task[None]) -> None:
        if not worker.cancelled() or not self._supervisor.running:
            self._supervisor.left()
        elif self.loop_task.open:
            self._supervisor.fail(TaskFailedError("run() was cancelled before it began"))
            self._supervisor.left()
        else:
            self._interrupted.add(worker)
            self._supervisor.count(waiting=1)

    def _format_stacks(self) -> str:
        """Return where the workers are now."""
        return "".join(format_coroutine(w) for w in self._coroutines if not w.done())
