"""This process: its standard streams, which never make it fail, and its end, which comes in time.

It may have been started with standard input, output or error closed, with a pipe that nobody reads
any more, or on a full disk. `ExitTimer` ends it with status 70 at a given time, also while no
Python code can run; `guard_exit` uses that for an exit of Python which does not come to its end.
"""

from __future__ import annotations

import atexit
import errno
import faulthandler
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from sparts.errors import (
    SpartsError,
    format_thread,
    message_of,
    status_of,
    text_of,
    traceback_of,
)
from sparts.masking import masked

# -- its standard streams --------------------------------------------------------------------------

EXIT_NOBODY_READS = 141
"""The status of a command whose output nobody reads: 128 + SIGPIPE, as shells give it."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def open_closed_streams() -> None:
    """Open those of descriptors 0 to 2 that are closed on /dev/null, before anything else gets
    their numbers; call it first.

    `sys.stdin`, `sys.stdout` and `sys.stderr` are never None after it.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        ours = not _is_open(descriptor)
        if ours:
            lead_nowhere(descriptor)
        if getattr(sys, name) is None:  # else the number is a file of somebody who came before us
            file = descriptor if ours else os.devnull
            mode = "w" if descriptor else "r"
            stream = open(file, mode, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
            setattr(sys, name, stream)
    atexit.unregister(write_out)
    atexit.register(write_out)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def lead_nowhere(*descriptors: int) -> None:
    """Have these descriptors lead to /dev/null, also in child processes."""
    for descriptor in descriptors:
        null = os.open(os.devnull, os.O_RDWR)
        if null == descriptor:
            os.set_inheritable(null, True)
        else:
            os.dup2(null, descriptor)
            os.close(null)


def complain(message: str) -> None:
    """Write a line to standard error, if that can be."""
    with suppress(OSError, ValueError, AttributeError):  # full, closed, None
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


def reason_of(error: BaseException) -> str:
    """Return why something could not be written or read, in the words of the system."""
    return str(getattr(error, "strerror", None) or message_of(error))


def write_out() -> None:
    """Write out what standard output and error hold back; drop what cannot be written."""
    for stream in (sys.stdout, sys.stderr):
        _write_out(stream)


def end_output() -> None:
    """Write out what is buffered, log lines too, before the process ends without doing so."""
    import logging

    write_out()
    logging.shutdown()


def _write_out(stream: TextIO | None) -> OSError | None:
    if stream is None or stream.closed:
        return None
    try:
        stream.flush()
    except OSError as error:
        with suppress(OSError, ValueError):  # else Python tries again at exit, with status 120
            lead_nowhere(stream.fileno())
            stream.flush()
        return error
    return None


@contextmanager
def command_output() -> Iterator[None]:
    """Run a command that prints; write its output out when it exits.

    Raises:
        SystemExit: nobody reads its standard output any more: `EXIT_NOBODY_READS`.
        SpartsError: it could not write, for instance on a full disk.
    """
    try:
        try:
            yield
        except SystemExit:
            if error := _write_out(sys.stdout):
                raise error from None
            raise
    except BrokenPipeError:
        write_out()
        sys.exit(EXIT_NOBODY_READS)
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        write_out()
        place = error.filename or "the output"
        raise SpartsError(f"Cannot write {place}: {reason_of(error)}.") from error


@contextmanager
def errors_shown(program: str) -> Iterator[None]:
    """Run a program as `command_output` does; show what leaves it, without secrets, on standard
    error.

    Raises:
        SystemExit: its own; else with status 2 for wrong use, and 1 for another error.
    """
    try:
        with command_output():
            yield
    except SpartsError as error:
        complain(f"{program}: error: {message_of(error)}")
        sys.exit(status_of(error))
    except SystemExit as left:
        if isinstance(left.code, int | None):
            raise
        complain(masked(text_of(left.code)))  # Python would show it with its secrets
        sys.exit(1)
    except Exception as error:  # the same
        complain(traceback_of(error))
        sys.exit(1)


# -- its end in time -------------------------------------------------------------------------------

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
