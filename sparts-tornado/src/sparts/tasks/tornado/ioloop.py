"""Tornado's event loop as a task, and the base of tasks that live on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from sparts.established import TaskReference
from sparts.loops import LoopBoundTask
from sparts.tasks.asyncio_loop import AsyncioLoopTask

from tornado.platform.asyncio import AsyncIOLoop

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop


class TornadoIOLoopTask(AsyncioLoopTask):
    """Runs Tornado's event loop, which is an asyncio loop, in a thread of its own."""

    OPT_PREFIX: ClassVar[str | None] = "ioloop"

    _ioloop: IOLoop | None = None

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make the asyncio loop, and Tornado's view of it."""
        loop = super().new_loop()
        self._ioloop = AsyncIOLoop(asyncio_loop=loop, make_current=False)
        return loop

    def close_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the asyncio loop by way of Tornado's view of it, which forgets it so."""
        ioloop, self._ioloop = self._ioloop, None
        if ioloop is not None:
            ioloop.close()

    @property
    def ioloop(self) -> IOLoop:
        """Tornado's view of the loop, from `initTask` on; ``IOLoop.current()`` in the loop's
        thread.

        RuntimeError: it has ended, and none has taken its place.
        """
        if self._ioloop is None:
            raise RuntimeError(f"{self.name} has no event loop now: it has ended.")
        return self._ioloop


class TornadoTask(LoopBoundTask):
    """A task that lives on Tornado's loop: override `start_in_loop` and `stop_in_loop`."""

    LOOP: ClassVar[TaskReference] = TornadoIOLoopTask

    @property
    def ioloop(self) -> IOLoop:
        """Tornado's event loop. Of its methods only ``add_callback`` may be called in other
        threads.
        """
        return cast("TornadoIOLoopTask", self.loop_task).ioloop
