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
    from typing import TypeAlias

    from _typeshed import FileDescriptorLike

    Callback: TypeAlias = Callable[[Any], object]

READ, WRITE, EXCEPT = selectors.EVENT_READ, selectors.EVENT_WRITE, 4
"""What to wait for: something to read (or the end), room to write, exceptional conditions."""

_NAMES = {READ: "reading", WRITE: "writing", EXCEPT: "exceptions"}


class Readiness:
    """Waits for descriptors and times in the thread that calls `turn`, which calls back.

    Callbacks may be registered and unregistered from any thread, also during `turn`; one callback
    a descriptor and kind.

    Args:
        name: whose it is, for errors.
        wake: ends a wait of `turn` in another thread, which may wait for other things now.
    """

    def __init__(self, name: str, wake: Callable[[], object] = lambda: None) -> None:
        self._name, self._wake = name, wake
        self._lock = threading.RLock()
        self._selector: Any = selectors.DefaultSelector()
        self._excepts: dict[int, tuple[FileDescriptorLike, Callback]] = {}
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()

    def add_callback(self, fd: FileDescriptorLike, event: int, callback: Callback) -> None:
        """Have ``callback(fd)`` called while ``event`` (`READ`, `WRITE`, `EXCEPT`) is there.

        It takes the place of an earlier callback. `ValueError`, `OSError`: nothing to wait for.
        """
        with self._lock:
            if event == EXCEPT:
                os.fstat(number := _number(fd))
                self._excepts[number] = (fd, callback)
            elif (key := (self._selector.get_map() or {}).get(fd)) is None:
                self._selector.register(fd, event, {event: callback})
            else:
                self._selector.modify(fd, key.events | event, {**key.data, event: callback})
        self._changed(event)

    def remove_callback(self, fd: FileDescriptorLike, event: int) -> Callback:
        """Call the callback for an event no more, and return it; KeyError: there is none."""
        with self._lock:
            if event == EXCEPT:
                _, callback = self._excepts.pop(_number(fd), (None, None))
            else:
                callback = self._forget(fd, event)
        if callback is None:
            raise KeyError(f"{fd!r} is not registered with {self._name} for {_NAMES[event]}.")
        self._changed(event)
        return callback

    def _forget(self, fd: FileDescriptorLike, event: int) -> Callback | None:
        if (key := (self._selector.get_map() or {}).get(fd)) is None:
            return None
        callbacks = dict(key.data)
        callback: Callback | None = callbacks.pop(event, None)
        if callbacks:
            self._selector.modify(fd, key.events & ~event, callbacks)
        elif callback is not None:
            self._selector.unregister(fd)
        return callback

    def _changed(self, event: int) -> None:
        """Have a `turn` in another thread look again, if it would not notice a change itself."""
        if event == EXCEPT or self._excepts or self.fileno() < 0:
            self._wake()

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
            for event in (READ, WRITE):
                if mask & event and (callback := self._current(key, event)) is not None:
                    callback(key.fileobj)
        while self._timers and self._timers[0][0] <= monotonic():
            heapq.heappop(self._timers)[2]()

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
                events = select.POLLIN if key.events & READ else 0
                events |= select.POLLOUT if key.events & WRITE else 0
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


def _number(fd: FileDescriptorLike) -> int:
    return fd if isinstance(fd, int) else fd.fileno()
