"""Contract tests for backlogs whose workers are coroutines: `AsyncBacklogContract`.

::

    class TestMine(AsyncBacklogContract):
        def make(self, maxsize=0):
            return MyAsyncBacklog("Task", maxsize)
"""

# ruff: noqa: S101 - the assertions of tests

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.backlog import AsyncBacklog
from sparts.testing.backlogs import BacklogContract, Worker
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.context import ExecuteContext
    from sparts.tasks.backlog import Backlog

__all__ = ["AsyncBacklogContract"]


class AsyncBacklogContract(BacklogContract):
    """What holds for every `AsyncBacklog`, whose workers are coroutines; `make` returns one.

    The rest is as in `BacklogContract`.
    """

    loop: AsyncioLoopTask
    """Where the backlog of a test lives."""

    @contextmanager
    def started(self, maxsize: int = 0) -> Iterator[Backlog]:
        """Make and start a backlog that lives on a loop of its own."""
        with running(service_of(AsyncioLoopTask)) as service:
            self.loop = service.requireTask(AsyncioLoopTask)
            with super().started(maxsize) as backlog:
                yield backlog

    def prepare(self, backlog: Backlog) -> None:
        """Say on which loop it lives."""
        assert isinstance(backlog, AsyncBacklog)
        backlog.live_on(self.loop)

    def work(
        self, backlog: Backlog, step: Callable[[ExecuteContext], object], workers: int = 1
    ) -> list[threading.Thread]:
        """Start coroutines that call a function for each item; a thread waits for each."""
        assert isinstance(backlog, AsyncBacklog)

        async def run() -> None:
            while (context := await backlog.take_async()) is not None:
                step(context)
            backlog.worker_left()

        futures = [self.loop.call(run) for _ in range(workers)]
        threads = [threading.Thread(target=future.result, daemon=True) for future in futures]
        for thread in threads:
            thread.start()
        return threads

    @contextmanager
    def worker(self, backlog: Backlog) -> Iterator[Worker]:
        """Be a coroutine that does what the test says, step by step."""
        assert isinstance(backlog, AsyncBacklog)
        steps: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()

        async def serve() -> None:
            loop = asyncio.get_running_loop()
            while (step := await loop.run_in_executor(None, steps.get)) is not None:
                result = step()
                results.put(await result if asyncio.iscoroutine(result) else result)

        def run(step: Callable[[], Any]) -> Any:
            steps.put(step)
            return results.get(timeout=WAIT)

        served = self.loop.call(serve)
        try:
            yield Worker(lambda: run(backlog.take_async), run)
        finally:
            steps.put(None)
            served.result(WAIT)
