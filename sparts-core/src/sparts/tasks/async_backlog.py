"""The backlog in memory whose workers are coroutines."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING

from sparts.tasks.backlog import AsyncBacklog
from sparts.tasks.memory_backlog import BETWEEN, MemoryBacklog

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from sparts.context import ExecuteContext
    from sparts.loops import LoopTask


class AsyncMemoryBacklog(MemoryBacklog, AsyncBacklog):
    """Items in order of arrival, which any thread puts in and coroutines of one loop take."""

    _worker = staticmethod(asyncio.current_task)
    _post: Callable[[Callable[[], object]], None]

    def __init__(self, name: str, maxsize: int, workers: list[threading.Thread]) -> None:
        super().__init__(name, maxsize, workers)
        self._bells: list[asyncio.Event] = []  # of the workers that wait

    def live_on(self, loop_task: LoopTask) -> None:
        """Say on which loop the workers live; before any takes an item."""
        self._workers = loop_task.threads  # who must not wait for room
        self._post = loop_task.post_if_open

    async def take_async(self) -> ExecuteContext | None:
        """Wait for an item and mark it as worked on; None when the worker must end."""
        me = self._worker()
        while True:
            with self._lock:
                context = self._next(me)
                if context is not BETWEEN:
                    return context
                bell, until = asyncio.Event(), None
                if self._later and self._later[0][0] < self._alarm:
                    until = self._alarm = self._later[0][0]
                self._bells.append(bell)
                self._idle += 1
            try:
                await self.clock.wait_async(bell, until)
            finally:
                with self._lock:
                    if bell in self._bells:
                        self._bells.remove(bell)
                    if until == self._alarm:
                        self._alarm = inf
                    self._idle -= 1
                    self._waking = False

    def _wake(self) -> None:
        super()._wake()  # for who takes items by hand
        if self._bells:
            self._post(self._bells.pop().set)

    def _wake_all(self) -> None:
        super()._wake_all()
        while self._bells:
            self._post(self._bells.pop().set)
