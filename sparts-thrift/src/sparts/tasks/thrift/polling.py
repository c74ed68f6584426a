"""What the engine needs of epoll, by poll(2) where a system has none: macOS, for development.

poll(2) knows no edges. So an event is reported once, and again only after `Poll.modify`: when a
thread gives back the claim on a connection, when one is to be resumed, and after an accept.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from typing import Any

from sparts.system import nonblocking_pipe

HAS_EPOLL = hasattr(select, "epoll")

IN, OUT = select.POLLIN, select.POLLOUT
# Their numbers are those of poll(2).
ONCE = 1 << 31
"""Report it once, and not while it lasts: ``EPOLLET``."""
_PEER_SHUT = 0x2000
GOING = _PEER_SHUT | select.POLLHUP | select.POLLERR
"""A client is about to go, or has gone."""
LISTEN = IN | ONCE
TALK = IN | OUT | ONCE | (_PEER_SHUT if HAS_EPOLL else 0)


class Poll:
    """Has the methods of `select.epoll` that the engine calls, with their meaning."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._waiting = threading.Lock()  # held by the thread that waits in poll(2)
        self._changing = threading.Lock()  # guards what it waits for
        self._once: dict[int, bool] = {}
        self._wanted: dict[int, int] = {}
        self._reader, self._waker = nonblocking_pipe()
        self._poll.register(self._reader, IN)

    def register(self, descriptor: int, events: int) -> None:
        """Report events of a descriptor."""
        with self._changing:
            self._once[descriptor], self._wanted[descriptor] = bool(events & ONCE), 0
        self.modify(descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        """Report these events of a registered descriptor, too, if they were reported before.

        FileNotFoundError: it is not registered.
        """
        with self._changing:
            if descriptor not in self._once:
                raise FileNotFoundError(f"{descriptor} is not registered.")
            self._wanted[descriptor] |= events & (IN | OUT)
            self._poll.register(descriptor, self._wanted[descriptor])
            self._wake()

    def unregister(self, descriptor: int) -> None:
        """Report no more events of a descriptor.

        FileNotFoundError: it is not registered.
        """
        with self._changing:
            if self._once.pop(descriptor, None) is None:
                raise FileNotFoundError(f"{descriptor} is not registered.")
            with contextlib.suppress(KeyError):
                self._poll.unregister(descriptor)
            self._wake()  # a connection ends only when nobody waits for it in poll(2)

    def poll(self, _timeout: None, most: int) -> list[tuple[int, int]]:
        """Wait for events, and return up to ``most`` of them: descriptors and what happened."""
        with self._waiting:
            while True:
                events = self._poll.poll()
                with self._changing:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._reader, 65536)
                    found = [event for event in events if event[0] in self._once][:most]
                    for descriptor, _ in found:
                        if self._once[descriptor]:
                            self._wanted[descriptor] = 0
                            self._poll.unregister(descriptor)
                if found:
                    return found

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: the thread is awake anyway
            os.write(self._waker, b"\0")

    def close(self) -> None:
        """Let go of the descriptors of its own."""
        os.close(self._reader)
        os.close(self._waker)


class Claim:
    """The claim on a connection (``wanted``, ``sock``): given back, it has that reported again."""

    def __init__(self, poll: Poll, connection: Any) -> None:
        self._poll, self._connection = poll, connection
        self._lock = threading.Lock()

    def acquire(self, blocking: bool = True) -> bool:
        """Take the claim, as a lock is taken."""
        return self._lock.acquire(blocking)

    def release(self) -> None:
        """Give the claim back."""
        events, descriptor = self._connection.wanted, self._connection.sock.fileno()
        self._lock.release()
        with contextlib.suppress(OSError):  # it was closed, or belongs to the next instance
            self._poll.modify(descriptor, events)

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


def new_poll() -> Any:
    """Return an epoll, or what takes its place."""
    return select.epoll() if HAS_EPOLL else Poll()
