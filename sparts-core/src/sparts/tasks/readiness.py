"""Readiness: calls back when a descriptor is ready, or when a time has come."""

from __future__ import annotations

import heapq
import os
import select
import selectors
import threading
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeAlias

    class HasFileno(Protocol):
        """What has a file descriptor: a socket, a file, a pipe."""

        def fileno(self) -> int: ...  # noqa: D102

    FileDescriptor: TypeAlias = int | HasFileno
    Callback: TypeAlias = Callable[[Any], object]

_NAMES = {selectors.EVENT_READ: "reading", selectors.EVENT_WRITE: "writing"}


class Readiness:
    """Waits for descriptors and times in the thread that calls `turn`, which calls back.

    Callbacks may be registered and unregistered from any thread, also during `turn`; one callback
    a descriptor and kind.

    Args:
        name: whose it is, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.RLock()
        self._selector: Any = selectors.DefaultSelector()
        self._excepts: dict[int, tuple[FileDescriptor, Callback]] = {}
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def register_read(self, fd: FileDescriptor, callback: Callback) -> None:
        """Have ``callback(fd)`` called while there is something to read, or the end.

        It takes the place of an earlier callback. `ValueError`, `OSError`: nothing to wait for.
        """
        self._register(fd, selectors.EVENT_READ, callback)

    def register_write(self, fd: FileDescriptor, callback: Callback) -> None:
        """Have ``callback(fd)`` called while there is room to write; as `register_read`."""
        self._register(fd, selectors.EVENT_WRITE, callback)

    def register_except(self, fd: FileDescriptor, callback: Callback) -> None:
        """Have ``callback(fd)`` called in exceptional conditions: urgent data, and the like."""
        number = fd if isinstance(fd, int) else fd.fileno()
        with self._lock:
            os.fstat(number)
            self._excepts[number] = (fd, callback)

    def unregister_read(self, fd: FileDescriptor) -> Callback:
        """Call no callback for reading any more, and return it; KeyError: it is not registered."""
        return self._unregister(fd, selectors.EVENT_READ)

    def unregister_write(self, fd: FileDescriptor) -> Callback:
        """Call no callback for writing any more, and return it; KeyError: it is not registered."""
        return self._unregister(fd, selectors.EVENT_WRITE)

    def unregister_except(self, fd: FileDescriptor) -> Callback:
        """Call no callback for exceptional conditions, and return it; KeyError: there is none."""
        number = fd if isinstance(fd, int) else fd.fileno()
        with self._lock:
            if (found := self._excepts.pop(number, None)) is None:
                raise KeyError(f"{fd!r} is not registered with {self._name} for exceptions.")
            return found[1]

    def call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        """Call a function in so many seconds; only in the thread of `turn`."""
        heapq.heappush(self._timers, (monotonic() + seconds, next(self._numbers), callback))

    def turn(self) -> None:
        """Wait once, for a descriptor or a time, and call what is to be called."""
        timeout = max(0.0, self._timers[0][0] - monotonic()) if self._timers else None
        if self._excepts:
            self._wait_for_exceptions(timeout)
            timeout = 0.0
        for key, mask in self._selector.select(timeout):
            for event in _NAMES:
                if mask & event and (callback := self._current(key, event)) is not None:
                    callback(key.fileobj)
        while self._timers and self._timers[0][0] <= monotonic():
            heapq.heappop(self._timers)[2]()

    @property
    def is_fixed(self) -> bool:
        """Whether a `turn` does not wait for what is registered by another thread during it."""
        return bool(self._excepts) or self.fileno() < 0

    def fileno(self) -> int:
        """Return the descriptor of the selector; -1: it has none."""
        return int(self._selector.fileno()) if hasattr(self._selector, "fileno") else -1

    def close(self) -> None:
        """Let go of the selector; nothing is registered any more."""
        with self._lock:
            self._selector.close()

    def _wait_for_exceptions(self, timeout: float | None) -> None:
        """Wait for what the selector waits for, and for conditions that selectors do not know."""
        poll = select.poll()
        with self._lock:
            wanted = dict.fromkeys(self._excepts, select.POLLPRI)
            for key in self._selector.get_map().values():
                events = select.POLLIN if key.events & selectors.EVENT_READ else 0
                events |= select.POLLOUT if key.events & selectors.EVENT_WRITE else 0
                wanted[key.fd] = wanted.get(key.fd, 0) | events
        for number, events in wanted.items():
            poll.register(number, events)
        for number, events in poll.poll(None if timeout is None else timeout * 1000 + 1):
            with self._lock:
                fd, callback = self._excepts.get(number, (None, None))
                if events & select.POLLNVAL:
                    self._excepts.pop(number, None)  # it was closed
                    continue
            if callback is not None and events & ~(select.POLLIN | select.POLLOUT):
                callback(fd)

    def _current(self, key: selectors.SelectorKey, event: int) -> Callback | None:
        """Return the callback of something ready, unless it was unregistered or replaced since."""
        with self._lock:
            now = self._selector.get_map().get(key.fd)
            callback: Callback | None = key.data.get(event)
            return callback if now is not None and now.data.get(event) is callback else None

    def _register(self, fd: FileDescriptor, event: int, callback: Callback) -> None:
        with self._lock:
            try:
                key = self._selector.get_key(fd)
            except KeyError:
                self._selector.register(fd, event, {event: callback})
            else:
                self._selector.modify(fd, key.events | event, {**key.data, event: callback})

    def _unregister(self, fd: FileDescriptor, event: int) -> Callback:
        with self._lock:
            key = (self._selector.get_map() or {}).get(fd)
            if key is None or event not in key.data:
                raise KeyError(f"{fd!r} is not registered with {self._name} for {_NAMES[event]}.")
            if key.events == event:
                self._selector.unregister(fd)
            else:
                rest = {kind: callback for kind, callback in key.data.items() if kind != event}
                self._selector.modify(fd, key.events & ~event, rest)
            callback: Callback = key.data[event]
            return callback
