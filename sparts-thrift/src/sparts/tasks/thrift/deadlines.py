"""Closes connections that have been idle, or in the middle of something, for too long."""

from __future__ import annotations

import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

COARSE = 0.1
"""What share of a time limit it may be too late by."""


class Deadlines:
    """A thread that sleeps until the first connection is due, or forever while none can be.

    Args:
        look: called in the thread with the time (of `time.monotonic`), it closes what is due and
            returns when the next will be.
        limits: the time limits, in seconds, of which the shortest says how exact it has to be; 0
            and infinity are none.
        name: the server's, for the name of the thread.
    """

    def __init__(self, look: Callable[[float], float], limits: Iterable[float], name: str) -> None:
        self._look = look
        self._changed = threading.Condition()
        self._next = inf
        self._over = False
        self.step: float = min((limit for limit in limits if limit), default=inf) * COARSE
        """Seconds between two looks, at the least."""
        self._thread = threading.Thread(target=self._run, name=f"{name} deadlines", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def expect(self, when: float) -> None:
        """Look again at a time (of `time.monotonic`), or before; from any thread."""
        if when < self._next:
            with self._changed:
                self._next = min(self._next, when)
                self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._over and (seconds := self._next - monotonic()) > 0:
                    self._changed.wait(None if seconds == inf else seconds)
                if self._over:
                    return
                self._next = inf
            due = self._look(monotonic())
            self.expect(max(due, monotonic() + self.step))
