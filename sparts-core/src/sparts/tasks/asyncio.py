"""Asyncio: an asyncio loop as a task, and tasks that live on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparts.counters import counter
from sparts.loops import LoopTask, settle
from sparts.stacks import format_coroutines

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future


class AsyncioLoopTask(LoopTask):
    """Runs an asyncio event loop in a thread of its own.

    An exception in a callback of the loop is logged and counted, and the loop goes on, as asyncio
    has it. At the stop, coroutines that still run are cancelled and waited for.
    """

    OPT_PREFIX = "asyncio"

    n_callback_errors = counter(help="Exceptions that nothing but the event loop caught.")

    _loop: asyncio.AbstractEventLoop | None = None
    _end: asyncio.Future[None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, from `initTask` on; a new one after a restart of the task."""
        if self._loop is None:
            self._loop = self.new_loop()
            self._loop.set_exception_handler(self._report)
        return self._loop

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make the event loop; override it to bring another kind. Called before each (re)start."""
        return asyncio.new_event_loop()

    def initTask(self) -> None:  # noqa: N802
        """Make the loop, so that tasks which live on it can refer to it before it runs."""
        super().initTask()
        self.loop  # noqa: B018 - made when first read

    def _runloop(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._serve())
        finally:
            self._loop = self._end = None
            self.loop_ended()

    async def _serve(self) -> None:
        self._end = asyncio.get_running_loop().create_future()
        self.loop_opened()
        if self.running:
            await self._end

    def stop(self) -> None:
        """Have the loop end."""
        super().stop()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def join(self) -> None:
        """Wait for the end of the loop, and close it if it never ran."""
        super().join()
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _post(self, callback: Callable[[], None]) -> None:
        self.loop.call_soon_threadsafe(callback)

    def _settle(self, future: Future[Any], result: Any) -> None:
        if not hasattr(result, "__await__"):
            settle(future, result)
            return
        task = asyncio.ensure_future(result)
        loop = asyncio.get_running_loop()

        def ended(task: asyncio.Future[Any]) -> None:
            if task.cancelled():
                future.cancel()
                settle(future, error=asyncio.CancelledError())
            elif (error := task.exception()) is not None:
                settle(future, error=error)
            else:
                settle(future, task.result())

        def cancelled(future: Future[Any]) -> None:
            if future.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

        task.add_done_callback(ended)
        future.add_done_callback(cancelled)

    def _report(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.n_callback_errors.increment()
        error = context.get("exception")
        self.logger.error("%s", context.get("message", "Error in the event loop"), exc_info=error)

    def format_stacks(self) -> str:
        """Return where the loop's thread and each of its coroutines are now."""
        loop = self._loop
        return super().format_stacks() + (format_coroutines(loop) if loop else "")
