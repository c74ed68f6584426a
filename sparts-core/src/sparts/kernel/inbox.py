"""The inbox of a service: where its supervising thread waits for whatever happens."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple

from sparts.system import nonblocking_pipe

MAX_WAIT = 2**31 - 1
"""Milliseconds that `Inbox.get` waits at most."""


class Message(NamedTuple):
    """Something for the supervising thread to act on."""

    kind: str
    about: Any = None
    """The instance that it concerns; None: whichever lives."""
    value: Any = None


class Inbox:
    """A queue of messages whose reader waits on a descriptor.

    Why not on a lock: a signal that comes just before its thread goes to sleep on one is acted on
    only when something else wakes it. `wakeup` is for ``signal.set_wakeup_fd``, which wakes a
    reader of the descriptor always.
    """

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pipe: tuple[int, int] | None = None
        self.put_from_signal: Callable[..., None] = self._messages.put
        """Put a message from a signal handler of Python's, whose signal has woken the reader."""

    def open(self) -> None:
        """Make the descriptors; called by the reader, before `get`."""
        with self._lock:
            if self._pipe is None:
                self._pipe = nonblocking_pipe()

    def close(self) -> None:
        """Close the descriptors; what is put from then on is not read."""
        with self._lock:
            if self._pipe is not None:
                os.close(self._pipe[0])
                os.close(self._pipe[1])
                self._pipe = None

    @property
    def wakeup(self) -> int:
        """The descriptor that wakes the reader when something is written to it."""
        if self._pipe is None:
            raise RuntimeError("The inbox is not open.")
        return self._pipe[1]

    def put(self, message: Message) -> None:
        """Put a message, from any thread, open or not. Never blocks."""
        self._messages.put(message)
        with self._lock:
            if self._pipe is not None:
                with suppress(BlockingIOError):  # full: the reader is awake anyway
                    os.write(self._pipe[1], b"\0")

    def get(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message; None if there is none within ``timeout`` seconds (24 days at
        most)."""
        if self._pipe is None:
            raise RuntimeError("The inbox is not open.")
        reader = self._pipe[0]
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        wait = None  # in ms, never too early, and no more than poll takes
        if timeout is not None:
            wait = min(max(0.0, timeout) * 1000 + 1, MAX_WAIT)
        while True:
            try:
                return self._messages.get_nowait()
            except queue.Empty:
                pass
            if not poll.poll(wait):
                return None
            try:
                os.read(reader, 65536)
            except BlockingIOError:
                continue

    def __len__(self) -> int:
        return self._messages.qsize()


class Bell:
    """A descriptor to wait on; ringing it, or writing to `descriptor`, wakes who waits."""

    def __init__(self) -> None:
        self.descriptor: int
        self._reader, self.descriptor = nonblocking_pipe()

    def ring(self) -> None:
        """Wake who waits; from any thread."""
        with suppress(BlockingIOError):  # full: it is awake anyway
            os.write(self.descriptor, b"\0")

    def wait(self, deadline: float | None) -> bool:
        """Wait until it is rung; False if it is not by the deadline, by `time.monotonic`."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        wait = None if deadline is None else max(0.0, deadline - monotonic()) * 1000 + 1
        if not poll.poll(wait if wait is None else min(wait, MAX_WAIT)):
            return False
        os.read(self._reader, 65536)
        return True

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._reader)
        os.close(self.descriptor)


class Bells:
    """An event that rings bells when it is set. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bells: list[Bell] = []
        self._is_set = False

    def is_set(self) -> bool:
        """Return whether it has been set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and ring the bells."""
        with self._lock:
            self._is_set = True
            for bell in self._bells:
                bell.ring()

    def add(self, bell: Bell) -> None:
        """Have a bell rung when it is set."""
        with self._lock:
            self._bells.append(bell)

    def discard(self, bell: Bell) -> None:
        """Ring a bell no more."""
        with self._lock:
            self._bells.remove(bell)
