"""Calls back when somebody sets the date, or when the machine wakes from its sleep."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable

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


def watch_date(changed: Callable[[], object]) -> Callable[[], object]:
    """Call a function, in a thread that sleeps until the date is set; return what ends that.

    The function must not raise. Where the system has no timer for that, it is called once a minute.
    """
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
    return end
