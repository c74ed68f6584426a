"""Calls back when somebody sets the date, or when the machine wakes from its sleep.

All who want to know share one thread, which is there while there are any.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
import time
from collections.abc import Callable

_NEVER = 2**33 if sys.maxsize > 2**32 else 2**31 - 1  # seconds since the epoch
_ABSOLUTE, _CANCEL_ON_SET = 1, 2
_LOOK_EVERY = 60.0
_lock = threading.Lock()
# By process, as a forked one has no thread: what to call, and what ends the thread.
_watches: dict[int, tuple[dict[object, Callable[[], object]], Callable[[], object]]] = {}


def open_timer() -> int:
    """Open a timer of the kernel that never ends, but is cancelled when the date is set.

    Raises:
        OSError: the kernel allows none.
        AttributeError: the system has none.
    """
    fd = int(ctypes.CDLL(None, use_errno=True).timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    _arm(fd, _ABSOLUTE | _CANCEL_ON_SET, _NEVER, 0)
    return fd


def _arm(fd: int, flags: int, seconds: int, nanoseconds: int) -> None:
    times = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)  # no interval
    ctypes.CDLL(None).timerfd_settime(fd, flags, times, None)


def watch_date(changed: Callable[[], object]) -> Callable[[], object]:
    """Call a function, in a thread that sleeps until the date is set; return what ends that.

    The function must be quick, and not raise. Where the system has no timer for that, it is called
    once a minute. It may be called once more while that ends.
    """
    key, process = object(), os.getpid()
    with _lock:
        _watches[process] = callbacks, end_thread = _watches.get(process) or _watch()
        callbacks[key] = changed

    def end() -> None:
        with _lock:
            del callbacks[key]
            if not callbacks:
                del _watches[process]
                end_thread()

    return end


def _watch() -> tuple[dict[object, Callable[[], object]], Callable[[], object]]:
    """Start the thread; return what it calls, by any keys, and what ends it."""
    callbacks: dict[object, Callable[[], object]] = {}
    ended = threading.Event()
    try:
        timer = open_timer()
    except (OSError, AttributeError):
        timer = -1

    def watch() -> None:
        while not ended.is_set():
            if timer < 0:
                ended.wait(_LOOK_EVERY)
            else:
                try:
                    os.read(timer, 8)
                except OSError as error:
                    if error.errno != errno.ECANCELED:
                        raise
            for changed in tuple(callbacks.values()):
                changed()

    def end() -> None:
        ended.set()
        if timer >= 0:
            _arm(timer, 0, 0, 1)
        thread.join()
        if timer >= 0:
            os.close(timer)

    thread = threading.Thread(target=watch, name="sparts-date", daemon=True)
    thread.start()
    return callbacks, end
