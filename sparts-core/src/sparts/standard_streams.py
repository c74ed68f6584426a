"""Standard input, output and error of a process: always open, and never what makes it fail.

A process may be started with any of them closed, with a pipe that nobody reads any more, or on a
full disk.
"""

from __future__ import annotations

import atexit
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from sparts.errors import SpartsError, message_of, status_of, text_of, traceback_of
from sparts.masking import masked

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
