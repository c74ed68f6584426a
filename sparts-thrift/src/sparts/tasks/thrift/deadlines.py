"""Closes connections that have been idle, or in the middle of something, for too long."""

from __future__ import annotations

import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sparts.tasks.thrift.engine import Engine

COARSE = 0.1
"""What share of a time limit it may be too late by."""


class Deadlines:
    """A thread that sleeps until the first connection is due, and for ever while none can be."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._changed = threading.Condition()
        self._next = inf
        self._over = False
        limits = [s for s in (engine.request_timeout, engine.idle_timeout or inf) if s != inf]
        self._step = min(limits, default=inf) * COARSE
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
            due = self._engine.look_at_time(monotonic())
            self.expect(max(due, monotonic() + self._step))
