"""What a service that has ended left behind: threads, descriptors, unfinished coroutines."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import re
import sys
import threading
import weakref
from time import monotonic
from typing import Any

PATIENCE = 5.0
"""Seconds that threads may take to end after the service has."""

exempt_descriptors: set[int] = set()
"""Descriptors of the test kit's own."""
exempt_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
"""Threads of the test kit's own."""

_allowed_threads: list[str] = [r"sparts-child-\d+"]  # wait for the kit's own, without a pidfd
_allowed_descriptors: list[str] = []


def allow(*, thread: str = "", descriptor: str = "") -> None:
    """Exempt what a library makes once a process and keeps, in all tests from now on.

    Args:
        thread: a regular expression of the whole names of threads.
        descriptor: a regular expression of what descriptors are, as ``/dev/fd`` shows it:
            ``anon_inode:\\[eventfd\\]``, ``/dev/urandom``.
    """
    _allowed_threads.extend([thread] if thread else [])
    _allowed_descriptors.extend([descriptor] if descriptor else [])


def _is_allowed(name: str, allowed: list[str]) -> bool:
    return any(re.fullmatch(each, name) for each in allowed)


class Leftovers:
    """What there is before something begins; `find` returns what is there in addition after it."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._descriptors = _descriptors()
        self._coroutines = weakref.WeakSet(_unfinished())

    def find(self, patience: float | None = None) -> list[str]:
        """Return a line for each thing that was left behind.

        A thread that is about to end is waited for, up to ``patience`` seconds in all (`PATIENCE`).
        """
        until = monotonic() + (PATIENCE if patience is None else patience)
        threads = [t for t in threading.enumerate() if t not in self._threads | {*exempt_threads}]
        threads = [
            thread
            for thread in threads
            if not isinstance(thread, threading._DummyThread)
            and not _is_allowed(thread.name, _allowed_threads)
        ]
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        found = [f"the thread {thread.name!r}" for thread in threads if thread.is_alive()]
        coroutines = [c for c in _unfinished() if c not in self._coroutines]
        found += [f"the unfinished {coroutine!r}" for coroutine in coroutines]
        descriptors = self._new_descriptors()
        if descriptors:  # of what nobody holds any more, the collector may close some
            gc.collect()
            descriptors = self._new_descriptors()
        found += [f"the descriptor {number} ({what})" for number, what in descriptors]
        return found

    def check(self, what: str = "The service", patience: float | None = None) -> None:
        """Raise AssertionError if anything was left behind, with all of it."""
        if found := self.find(patience):
            raise AssertionError(f"{what} left behind: {'; '.join(found)}.")

    def _new_descriptors(self) -> list[tuple[int, str]]:
        now = _descriptors() - self._descriptors
        return sorted(
            (number, what)
            for number, what in now
            if number not in exempt_descriptors and not _is_allowed(what, _allowed_descriptors)
        )


def _descriptors() -> set[tuple[int, str]]:
    found = set()
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):  # such as that of the listing itself
            found.add((int(name), _describe(name)))
    return found


def _describe(name: str) -> str:
    """Return what a descriptor is; of the same number, another file has another description."""
    try:
        return os.readlink(f"/dev/fd/{name}")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        state = os.fstat(int(name))  # macOS has no links there
        return f"mode {state.st_mode:o}, inode {state.st_dev}:{state.st_ino}"


def _unfinished() -> list[Any]:
    """Return asyncio's tasks that have not ended and whose loop does not run any more."""
    asyncio: Any = sys.modules.get("asyncio.tasks")  # to walk all objects for them takes too long
    names = ("_all_tasks", "_scheduled_tasks", "_eager_tasks")  # of Python 3.11, and since 3.12
    known = [getattr(asyncio, name) for name in names if hasattr(asyncio, name)]
    tasks: list[Any] = []
    for _ in range(1000):  # as asyncio does
        with contextlib.suppress(RuntimeError):  # another thread has made a task meanwhile
            tasks = [task for each in known for task in list(each)]
            break
    return [task for task in tasks if not task.done() and not task.get_loop().is_running()]
