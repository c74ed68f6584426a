"""Where threads wait for what others give them: messages in an inbox, jobs for a thread."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

from sparts.records import NamedTuple
from sparts.system import nonblocking_pipe

MAX_WAIT = 2**31 - 1
"""Milliseconds that `await_ready` waits at most."""


def await_ready(
    readable: Iterable[int], seconds: float = inf, writable: Iterable[int] = ()
) -> list[int]:
    """Wait until one of some descriptors can be read (or written, where that is asked for), or some
    seconds have passed (24 days at most); return those that can, none too early.
    """
    poll = select.poll()
    for each in readable:
        poll.register(each, select.POLLIN)
    for each in writable:
        poll.register(each, select.POLLIN | select.POLLOUT)
    wait = min(seconds * 1000 + 1, MAX_WAIT) if seconds > 0 else 0
    return [each for each, _ in poll.poll(None if seconds == inf else wait)]


class Message(NamedTuple):
    """Something for the supervising thread to act on."""

    kind: str
    about: Any = None
    """The instance that it concerns; None: whichever lives."""
    value: Any = None


class Inbox:
    """A queue of messages whose reader waits on a descriptor.

    Why not on a lock: a signal that comes just before its thread goes to sleep on one is acted on
    only when something else wakes it. `wakeup` is for ``signal.set_wakeup_fd``, which wakes a
    reader of the descriptor always.
    """

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pipe: tuple[int, int] | None = None
        self.put_from_signal: Callable[..., None] = self._messages.put
        """Put a message from a signal handler of Python's, whose signal has woken the reader."""

    def open(self) -> None:
        """Make the descriptors; called by the reader, before `get`."""
        with self._lock:
            if self._pipe is None:
                self._pipe = nonblocking_pipe()

    def close(self) -> None:
        """Close the descriptors; what is put from then on is not read."""
        with self._lock:
            if self._pipe is not None:
                os.close(self._pipe[0])
                os.close(self._pipe[1])
                self._pipe = None

    @property
    def wakeup(self) -> int:
        """The descriptor that wakes the reader when something is written to it."""
        if self._pipe is None:
            raise RuntimeError("The inbox is not open.")
        return self._pipe[1]

    def put(self, message: Message) -> None:
        """Put a message, from any thread, open or not. Never blocks."""
        self._messages.put(message)
        with self._lock:
            if self._pipe is not None:
                with suppress(BlockingIOError):  # full: the reader is awake anyway
                    os.write(self._pipe[1], b"\0")

    def get(self, timeout: float | None = None) -> Message | None:
        """Wait for the next message; None if there is none within ``timeout`` seconds (24 days at
        most)."""
        if self._pipe is None:
            raise RuntimeError("The inbox is not open.")
        while True:
            with suppress(queue.Empty):
                return self._messages.get_nowait()
            if not await_ready(self._pipe[:1], inf if timeout is None else timeout):
                return None
            with suppress(BlockingIOError):
                os.read(self._pipe[0], 65536)


class JobThread:
    """A daemon thread that runs jobs in the order in which they were put.

    A service that stops may get no more threads from the system. So it makes those of its stop at
    its start; one that waits for a job costs no processor time.

    Args:
        name: the name of the thread.
        broke: called in the thread with what a job raised; the thread goes on.
    """

    def __init__(self, name: str, broke: Callable[[BaseException], object]) -> None:
        self._broke = broke
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.put: Callable[[Callable[[], object]], None] = self._jobs.put
        """Have a function called in the thread; from any thread. Never blocks."""
        self.thread: threading.Thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; `RuntimeError` if the system allows no more threads."""
        self.thread.start()

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except BaseException as error:  # nobody would see this thread end
                self._broke(error)
            del job  # and what it holds, such as a service that has ended

    def end(self) -> None:
        """Have the thread end after the jobs that were put so far; later ones do not run."""
        self._jobs.put(None)

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; False if it has not within ``timeout`` seconds."""
        if self.thread.ident is not None:
            self.thread.join(timeout)
        return not self.thread.is_alive()


class Timers(dict[str, tuple[float, Callable[[], None]]]):
    """What one thread has to call at some time, by name; each is called once."""

    def set(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Have a function called in some seconds, in place of an earlier one of that name."""
        self[name] = (monotonic() + seconds, action)

    def left(self) -> float | None:
        """Return the seconds until the next is due; None: there is none."""
        due = min((when for when, _ in self.values()), default=None)
        return None if due is None else due - monotonic()

    def run(self) -> None:
        """Call those that are due, but not those that they set."""
        now = monotonic()
        for name, timer in list(self.items()):
            if timer[0] <= now and self.get(name) is timer:
                del self[name]
                timer[1]()
