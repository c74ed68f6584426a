"""A limit on the memory that requests of all clients take together."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = 4096
"""Bytes of a request that are not counted: so many every client may have."""


class NoRoomError(Exception):
    """A request for which there is no memory now."""


class Memory:
    """How many bytes are taken, of how many there are; safe for threads.

    Args:
        limit: how many there are.
        on_refused: called when somebody wanted more than were left.
    """

    def __init__(self, limit: int, on_refused: Callable[[], object] = lambda: None) -> None:
        self.limit = limit
        self.on_refused = on_refused
        self.taken: int = 0
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take some bytes; False: there are not so many left, and none were taken."""
        with self._lock:
            if self.taken + size > self.limit:
                return False
            self.taken += size
            return True

    def give(self, size: int) -> None:
        """Give back bytes that were taken."""
        with self._lock:
            self.taken -= size


class Share:
    """What one connection or request holds of a `Memory`; for one thread at a time."""

    __slots__ = ("held", "memory")

    def __init__(self, memory: Memory) -> None:
        self.memory: Memory = memory
        self.held: int = 0

    def hold(self, size: int) -> None:
        """Hold so many bytes from now on, or none if they are few.

        Raises:
            NoRoomError: there are not so many left; what was held before still is.
        """
        if size <= SMALL:
            size = 0
        if size > self.held and not self.memory.take(size - self.held):
            self.memory.on_refused()
            raise NoRoomError(
                f"requests of all clients take {self.memory.taken} bytes, which leaves no room for "
                f"one of {size}"
            )
        if size < self.held:
            self.memory.give(self.held - size)
        self.held = size
