"""Ends this process with status 70 at a given time, also while no Python code can run.

`guard_exit` uses that for an exit of Python which does not come to its end.
"""

from __future__ import annotations

import atexit
import faulthandler
import functools
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sparts.errors import format_thread
from sparts.standard_streams import complain

EXIT_DEADLINE = 70
#: Seconds past its deadline after which a process is ended whose interpreter is stuck.
GUARD_GRACE = 2.0

#: Seconds that Python may take to exit, also when the stop has used all of its time.
LEAST_EXIT_TIME = 1.0

#: Seconds between the stacks on standard error and the end of the process.
STACKS_TIME = 0.5

_CLOCK_MONOTONIC, _SIGEV_THREAD = 1, 2


class ExitTimer:
    """Ends this process at a given time, unless it is called off.

    First faulthandler's watchdog shows the stacks of all threads. Then a timer of the system calls
    the C function ``_exit``. Both are threads of their own without Python code: it does not matter
    who holds the interpreter's lock, or whether anybody reads standard error. Where the system has
    no such timer, the watchdog ends the process, with status 1.

    The system may refuse both threads. Then the alarm clock of the process ends it by SIGALRM,
    unless the application uses that signal.
    """

    def __init__(self) -> None:
        self._delete: Callable[[], object] | None = None
        self._alarm = False

    def prepare(self) -> None:
        """Load what `arm` needs, and have the C library make its thread for timers; never raises.

        It takes 2 ms, and else `arm` does it.
        """
        with suppress(Exception):  # a Python without ctypes
            _started_timer(3600.0)()

    def arm(self, seconds: float) -> None:
        """End the process in ``seconds``; never raises."""
        self.disarm()
        with suppress(Exception):  # no such function, no thread, no memory
            self._delete = _started_timer(seconds + STACKS_TIME)
        try:
            faulthandler.dump_traceback_later(seconds, exit=self._delete is None, file=2)
        except Exception:  # no thread, no memory, no standard error
            if self._delete is None:
                with suppress(Exception):
                    self._set_alarm(seconds)

    def disarm(self) -> None:
        """Let the process live."""
        faulthandler.cancel_dump_traceback_later()
        delete, self._delete = self._delete, None
        if delete is not None:
            delete()
        if self._alarm:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            self._alarm = False

    def _set_alarm(self, seconds: float) -> None:
        unused = signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
        if unused and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL:
            signal.setitimer(signal.ITIMER_REAL, seconds)
            self._alarm = True


def _started_timer(seconds: float) -> Callable[[], object]:
    """Have the system end the process in ``seconds``; return what calls that off."""
    import struct  # as ctypes has done, which not every service imports

    ctypes, libc = _system()
    function = ctypes.cast(libc._exit, ctypes.c_void_p).value
    # sigevent(3type): the value, the signal, the way, the function, its attributes
    event = struct.pack("PiiPP64x", EXIT_DEADLINE, 0, _SIGEV_THREAD, function, 0)
    timer, (whole, rest) = ctypes.c_void_p(), divmod(seconds, 1)
    when = (ctypes.c_long * 4)(0, 0, int(whole), int(rest * 1e9))
    made = libc.timer_create(_CLOCK_MONOTONIC, event, ctypes.byref(timer)) == 0
    if not made or libc.timer_settime(timer, 0, when, None) != 0:
        raise OSError(ctypes.get_errno(), "The system has no more timers.")
    return functools.partial(libc.timer_delete, timer)


@functools.cache
def _system() -> Any:
    """Return ctypes and the C library."""
    import ctypes

    return ctypes, ctypes.CDLL(None, use_errno=True)


def guard_exit(seconds: float, run_aside: Callable[[Callable[[], object]], object]) -> None:
    """Limit the time from the end of the main thread to the end of the process.

    It is what the stop has left, and at least `LEAST_EXIT_TIME`. The main thread goes on if
    somebody catches the `SystemExit`.

    Args:
        seconds: what the stop has left.
        run_aside: runs a function in a daemon thread, and returns at once.
    """
    seconds = max(seconds, LEAST_EXIT_TIME)
    run_aside(functools.partial(_end_late, seconds))
    # The first of all exit handlers, since it is the last one registered.
    atexit.register(ExitTimer().arm, seconds + GUARD_GRACE)


def run_in_new_thread(function: Callable[[], object]) -> None:
    """Run a function in a daemon thread of its own, if the system allows one more."""
    with suppress(RuntimeError):
        threading.Thread(target=function, daemon=True).start()


def _end_late(seconds: float) -> None:
    """End a process that does not end by itself."""
    main = threading.main_thread()
    main.join()
    threading.Event().wait(seconds)
    threads = [each for each in threading.enumerate() if each is not threading.current_thread()]
    late = [thread.name for thread in threads if not thread.daemon and thread is not main]
    names = ", ".join(late) or "an exit handler, or a child of multiprocessing"
    complain(f"Not ended within {seconds:.3g} s after the service: {names}")
    complain("".join(map(format_thread, threads)))
    os._exit(EXIT_DEADLINE)
