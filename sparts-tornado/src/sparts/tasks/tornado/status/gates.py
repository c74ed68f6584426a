"""Pausing a task: its worker takes nothing more to do until the task is resumed.

A gate stands around what gives a worker its next item or run. While the task is not paused, that
costs one look at an attribute.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.tasks.event import EventTask
from sparts.tasks.item_work import ItemWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.vtask import VTask


class Gate:
    """Holds up the workers of one task while it is closed. Safe for threads."""

    def __init__(self) -> None:
        self.closed: bool = False
        self.taken: deque[float] = deque(maxlen=10)
        """When something was last taken, by `time.monotonic`."""
        self._open = threading.Event()
        self._open.set()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Hold up who comes from now on."""
        with self._lock:
            self.closed = True
            self._open.clear()

    def open(self) -> None:
        """Let all go on."""
        with self._lock:
            self.closed = False
            self._open.set()
            waiting, self._waiting = self._waiting, set()
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def around(self, take: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same, and then waits while the gate is closed."""

        def taken(*args: Any) -> Any:
            found = take(*args)
            if found is not None:
                if self.closed:
                    self._open.wait()
                noted(monotonic())
            return found

        noted = self.taken.append
        return taken

    def around_async(self, take: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same for a function that gives something to await."""

        async def taken(*args: Any) -> Any:
            found = await take(*args)
            while self.closed and found is not None:
                event = asyncio.Event()
                with self._lock:
                    if self.closed:
                        self._waiting.add((asyncio.get_running_loop(), event))
                    else:
                        event.set()
                await event.wait()
            self.taken.append(monotonic())
            return found

        return taken


def put_gate(task: VTask) -> Gate | None:
    """Put a gate around what a task takes, before it starts; None: it cannot be paused."""
    if isinstance(task, EventTask):
        source: Any = task._runs
        names = ("next", "next_async")
    elif isinstance(task, ItemWork):
        source = task.queue
        names = ("take", "take_async")
    else:
        return None
    gate = Gate()
    for name, around in zip(names, (gate.around, gate.around_async), strict=True):
        if (take := getattr(source, name, None)) is not None:
            setattr(source, name, around(take))
    return gate
