"""What Linux alone has, and what takes its place on macOS and other POSIX systems."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

FIRST = 3
"""The number of the first descriptor that is passed on, as in sd_listen_fds(3)."""
_HIGH = 128  # numbers from here on are free for what is moved on the way


def nonblocking_pipe() -> tuple[int, int]:
    """Return the ends of a new pipe, to read and to write; neither blocks, or stays over exec."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


@contextmanager
def signals_in_pipe(
    numbers: Iterable[signal.Signals], kept: Iterable[signal.Signals] = ()
) -> Iterator[tuple[int, int]]:
    """Have the numbers of signals that come written into a pipe; gives its ends, as they read and
    write. At the end, the handlers are those of before; signals of ``kept`` are ignored."""
    reader, writer = nonblocking_pipe()
    before = {each: signal.signal(each, lambda *_: None) for each in numbers}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader, writer
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if number in kept else handler)
        os.close(reader)
        os.close(writer)


def spawn(
    words: list[str],
    variables: Mapping[str, str],
    listening: Sequence[tuple[str, int]],
    descriptors: Iterable[int],
) -> int:
    """Start a process that leads a group of its own; return its number.

    Its standard input is empty: it could not read from a terminal, which is for its parent's group.

    Args:
        words: the command line; the first word is the path of the program.
        variables: its whole environment, but for those of sd_listen_fds(3).
        listening: the sockets, with names, that it finds as those of sd_listen_fds(3) say.
        descriptors: what else it has open after these, in this order.

    Raises:
        OSError: the system starts no more processes.
    """
    moved: list[int] = []
    if listening:
        names = ":".join(name for name, _ in listening)
        variables = {**variables, "LISTEN_FDS": f"{len(listening)}", "LISTEN_FDNAMES": names}
    try:
        # First out of the way of each other.
        for each in (*(sock for _, sock in listening), *descriptors):
            moved.append(fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, _HIGH))  # noqa: PERF401
        placed = [(os.POSIX_SPAWN_DUP2, each, FIRST + n) for n, each in enumerate(moved)]
        return os.posix_spawn(
            words[0],
            words,
            variables,
            file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), *placed],
            setpgroup=0,  # ^C in a terminal is for its parent, which passes it on once
            setsigdef=[signal.SIGPIPE],
        )
    finally:
        for each in moved:
            os.close(each)


def _watch_by_thread(pid: int) -> int:
    reader, writer = os.pipe()

    def wait() -> None:
        with suppress(ChildProcessError):  # somebody has waited for it already
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(writer)

    threading.Thread(target=wait, name=f"sparts-child-{pid}", daemon=True).start()
    return reader


watch_child: Callable[[int], int] = getattr(os, "pidfd_open", _watch_by_thread)
"""Return a new descriptor that can be read when a child process has ended; it is not waited for.

The caller closes it. The ways: a pidfd on Linux, else a thread.

ProcessLookupError: somebody has waited for the child already (not known everywhere).
"""


def is_imported_by_a_child() -> bool:
    """Return whether a child of multiprocessing, started by spawn or forkserver, imports its main.

    It runs the main module once more, under another name, before it does any work.
    """
    known = sys.modules.get("multiprocessing.process")  # there in every such child
    return known is not None and getattr(known.current_process(), "_inheriting", False) is True
