"""The backlog on RabbitMQ whose workers are coroutines."""

from __future__ import annotations

import asyncio
from collections import deque
from queue import Empty
from threading import get_ident
from typing import TYPE_CHECKING, Any

from sparts.tasks.amqp.backlog import AMQPBacklog
from sparts.tasks.backlog import AsyncBacklog, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.loops import LoopTask
    from sparts.tasks.amqp.consumer import Delivery


class AsyncAMQPBacklog(AMQPBacklog, AsyncBacklog):
    """Items at a broker that coroutines of one loop take."""

    def live_on(self, loop_task: LoopTask) -> None:
        """Learn on which loop the workers live; before any takes an item."""
        self._workers = loop_task.threads
        self._ready = _Tray(loop_task.post_if_open)

    async def take_async(self) -> Delivery | None:
        """Wait for an item; None when the worker must end."""
        while (context := await self._ready.get()) is not None:
            if self._begin(context):
                return context  # type: ignore[no-any-return]
        self._ready.put(None)  # for the other workers
        if self._failure is not None and not self._closing.is_set():
            raise self._failure
        return None

    def take(self) -> Delivery | None:
        """Refuse: only coroutines take items."""
        raise RefusedError(f"{self.name} has coroutines for workers.")

    def _patience(self, block: bool, timeout: float | None) -> tuple[bool, float | None]:
        """Never wait for room in the loop: nobody could make any."""
        if get_ident() in {thread.ident for thread in self._workers}:
            block = False
        return super()._patience(block, timeout)


class _Tray:
    """What any thread puts in and coroutines take out, in order."""

    def __init__(self, post: Callable[[Callable[[], object]], object]) -> None:
        self._post = post
        self._items: deque[Any] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def put(self, item: Any) -> None:
        """Put something in."""
        self._items.append(item)
        if self._waiting:
            self._post(self._wake)

    def get_nowait(self) -> Any:
        """Take something out; ``queue.Empty`` if there is nothing."""
        try:
            return self._items.popleft()
        except IndexError:
            raise Empty from None

    async def get(self) -> Any:
        """Wait for something, and take it out; called in the loop."""
        while True:
            bell = asyncio.get_running_loop().create_future()
            self._waiting.append(bell)  # before the look: `put` does it in reverse
            try:
                if self._items:
                    return self._items.popleft()
                await bell
            finally:
                if bell in self._waiting:
                    self._waiting.remove(bell)

    def _wake(self) -> None:
        for _ in range(min(len(self._items), len(self._waiting))):
            bell = self._waiting.popleft()
            if not bell.done():
                bell.set_result(None)
