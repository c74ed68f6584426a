"""AsyncQueueTask: coroutines that process queued items."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import CancelledError, wait
from contextvars import copy_context
from typing import Any, ClassVar, cast

from sparts.base_work import must_override
from sparts.calls import InContext, around_work
from sparts.clock import timeout_of
from sparts.errors import LoopStoppedError, call_plain
from sparts.generic import Item, Result
from sparts.tasks.async_backlog import AsyncMemoryBacklog
from sparts.tasks.asyncio import AsyncioTask
from sparts.tasks.backlog import AsyncBacklog
from sparts.tasks.forms import fitting
from sparts.tasks.memory_backlog import MemoryBacklog
from sparts.tasks.queue import ExecuteContext, QueueTask, TryLater

__all__ = ["AsyncQueueTask", "ExecuteContext", "TryLater"]


class AsyncQueueTask(AsyncioTask, QueueTask[Item, Result]):
    """Awaits `execute` for the items of its queue, for up to ``WORKERS`` of them at a time.

    All that `QueueTask` says of items holds for it. Two things differ. A coroutine cannot wait for
    room: where a full queue blocks others, who calls from the loop gets ``queue.Full``. And what is
    left in work at the end of a stop is cancelled, after `on_dropped` has got it.

    An item whose work the failure of the loop has interrupted is tried again.
    """

    WORKERS: int = 100
    """How many items are worked on at a time at most."""

    backlog_class: ClassVar[type[MemoryBacklog]] = AsyncMemoryBacklog

    _KIND = AsyncBacklog
    _gave_up = False  # what is not done by now is not waited for any more

    @must_override
    async def execute(self, item: Item, context: ExecuteContext, /) -> Result:
        """Work on an item; called in the loop. See `QueueTask` for what becomes of the item.

        It may still be called after `running` has become False, see ``DRAIN``.
        """
        raise NotImplementedError(f"{self.name} has nothing to do: write its execute().")

    def start(self) -> None:
        """Start the backlog, and the workers in the loop."""
        cast("AsyncBacklog", self.queue).live_on(self.loop_task)
        self.queue.clock = type(self).clock
        self.queue.start()
        super().start()

    async def run(self) -> None:
        """Work on items until the task must stop and, if ``DRAIN``, none is left."""
        queue = cast("AsyncBacklog", self.queue)
        in_context, own = self.KEEP_CONTEXT, copy_context().copy
        execute = around_work(self, fitting(self.execute, 2), is_async=True)
        success, succeeded = self._overridden("work_success"), self._finisher()
        late_error: BaseException | None = None
        worker: Any = asyncio.current_task()
        try:
            while (context := await queue.take_async()) is not None:
                context.begin(self)
                try:
                    if in_context:
                        variables = context.variables = context.variables or own()
                        work = variables.run(execute, context.item, context)
                        result = await InContext(variables, work)
                    else:
                        result = await execute(context.item, context)
                    if success is not None:
                        call_plain(success, context, result)
                except BaseException as error:
                    late_error = self._failed(context, self._cause(context, error)) or late_error
                else:
                    succeeded(context, result)
                if worker.cancelling():
                    await self._outlive_work(worker)
        finally:
            queue.worker_left()
        if late_error is not None:
            raise late_error

    def _cause(self, context: ExecuteContext, error: BaseException) -> BaseException:
        """Return what an item failed by; raise a cancellation that does not concern it alone."""
        if not isinstance(error, asyncio.CancelledError):
            return error
        if self._gave_up:
            raise error
        if not self.loop_task.open:
            context.attempt += 1
            self.queue.put_back(context, 0.0)
            raise error
        return CancelledError(f"{self.name} was cancelled while it worked on the item.")

    def stop_in_loop(self) -> Any:
        """Wait for the workers, which end when there is nothing left to do; see `join`."""
        return self._end_workers(None)

    def join(self) -> None:
        """Wait for the workers; give up what they have not done in time, and cancel them."""
        if self._stopped is not None:
            wait([self._stopped], timeout_of(self.seconds_to_stop()))
        try:
            self._gave_up = True
            self._give_up()
            self._hand_over()
        finally:
            with contextlib.suppress(LoopStoppedError):
                self.loop_task.call(self._end_workers, 0.0)
            super().join()
