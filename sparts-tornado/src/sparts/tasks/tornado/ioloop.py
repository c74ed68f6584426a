"""Tornado's event loop as a task, and the base of tasks that live on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sparts.loops import LoopBoundTask
from sparts.tasks.asyncio import AsyncioLoopTask

from tornado.platform.asyncio import AsyncIOLoop

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop


class TornadoIOLoopTask(AsyncioLoopTask):
    """Runs Tornado's event loop, which is an asyncio loop, in a thread of its own."""

    OPT_PREFIX = "ioloop"

    _ioloop: IOLoop | None = None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make the asyncio loop, and Tornado's view of it."""
        loop = super().new_loop()
        self._ioloop = AsyncIOLoop(asyncio_loop=loop, make_current=False)
        return loop

    @property
    def ioloop(self) -> IOLoop:
        """Tornado's view of the loop, from `initTask` on; ``IOLoop.current()`` in the loop's
        thread.
        """
        self.loop  # noqa: B018 - made when first read
        if self._ioloop is None:
            raise RuntimeError(f"The loop of {self.name} has ended.")
        return self._ioloop


class TornadoTask(LoopBoundTask):
    """A task that lives on Tornado's loop: override `start_in_loop` and `stop_in_loop`."""

    LOOP = TornadoIOLoopTask

    @property
    def ioloop(self) -> IOLoop:
        """Tornado's event loop. Of its methods only ``add_callback`` may be called in other
        threads.
        """
        task: TornadoIOLoopTask = self.service.requireTask(self.LOOP)
        return task.ioloop
