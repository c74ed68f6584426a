"""Calls back when somebody sets the date, or when the machine wakes from its sleep."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable

Callback = Callable[[], object]

_NEVER = 2**33 if sys.maxsize > 2**32 else 2**31 - 1  # seconds since the epoch
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_LOOK_EVERY = 60.0


def open_timer() -> int:
    """Open a timer of the kernel that never ends, but is cancelled when the date is set.

    Raises:
        OSError: the kernel allows none.
        AttributeError: the system has none.
    """
    import ctypes

    fd = int(ctypes.CDLL(None, use_errno=True).timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    _arm(fd, _ABSOLUTE | _CANCEL_ON_SET, _NEVER, 0)
    return fd


def _arm(fd: int, flags: int, seconds: int, nanoseconds: int) -> None:
    import ctypes

    times = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)  # no interval
    ctypes.CDLL(None).timerfd_settime(fd, flags, times, None)


class DateWatch:
    """Runs one thread while there are callbacks, which sleeps until the date is set.

    Where the system has no timer for that, the thread calls back once a minute.
    """

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Begin with nothing; in a child process, which has no thread of its parent's."""
        self._changing = threading.Lock()
        self._callbacks: list[Callback] = []
        self._ended = threading.Event()
        self._timer: int | None = None
        self._thread: threading.Thread | None = None

    def add(self, callback: Callback) -> Callback:
        """Have a function called, in the watch's thread; return what ends that.

        The function must not raise.
        """
        with self._changing:
            if not self._callbacks:
                self._start()
            self._callbacks.append(callback)
        return lambda: self._remove(callback)

    def _start(self) -> None:
        try:
            self._timer = open_timer()
        except (OSError, AttributeError):
            self._timer = None
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(self._timer, self._ended), name="sparts-date", daemon=True
        )
        self._thread.start()

    def _remove(self, callback: Callback) -> None:
        with self._changing:
            self._callbacks.remove(callback)
            if self._callbacks or self._thread is None:
                return
            self._ended.set()
            if self._timer is not None:
                _arm(self._timer, 0, 0, 1)
            self._thread.join()
            self._thread = None

    def _watch(self, timer: int | None, ended: threading.Event) -> None:
        while not ended.is_set():
            if timer is None:
                ended.wait(_LOOK_EVERY)
            else:
                try:
                    os.read(timer, 8)
                except OSError as error:
                    if error.errno != errno.ECANCELED:
                        raise
            for callback in self._callbacks.copy():
                callback()
        if timer is not None:
            os.close(timer)


WATCH = DateWatch()
"""The process's watch."""
