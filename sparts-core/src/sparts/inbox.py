"""Where threads wait for what others give them: messages in an inbox, jobs for a thread, signals.

A handler of a signal runs between two instructions of the main thread, which may hold any lock just
then: so it must not take one. It does nothing but put to a queue, on which the main thread acts.
``SimpleQueue.put`` is made for that; ``Event.set`` is not.
"""

from __future__ import annotations

import atexit
import functools
import os
import queue
import select
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any

from sparts.startup import NamedTuple
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

    A service that stops may get no more threads from the system. So it makes those of its stop when
    it starts; one that waits for a job costs no processor time.

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

    def started_or(self, other: JobThread) -> JobThread:
        """Start the thread unless it was; return it, or another one if the system refuses that."""
        try:
            if self.thread.ident is None:
                self.start()
        except Exception:  # no thread, no memory
            return other
        return self

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


# -- signals ---------------------------------------------------------------------------------------

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP
STACKS = signal.SIGUSR1

SAME = 0.05
"""Seconds within which equal signals to stop count once: ``timeout`` of coreutils sends each to the
process and then to its group."""


def name_of(number: signal.Signals) -> str:
    """Return what log lines call a signal."""
    return "KeyboardInterrupt" if number == signal.SIGINT else number.name


class SignalHandlers:
    """The handlers of a service's process, while it is entered; in the main thread only.

    Args:
        put: what a handler does with its signal; it must not take a lock.
        wakeup: a descriptor to which the system writes when a signal comes, for any handler; it
            wakes who waits there.
        ours: whether all signals are the service's. If not, only SIGINT is, and that only where the
            application left it to Python, whose handler would raise in the midst of our work.
        stops: only those that ask for a stop are, and only where the application handles them not.
    """

    def __init__(
        self,
        put: Callable[[signal.Signals], None],
        wakeup: int,
        ours: bool = True,
        stops: bool = False,
    ) -> None:
        left = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        alone = (signal.SIGINT,) if left else ()
        self.numbers: tuple[signal.Signals, ...] = (*STOP, RELOAD, STACKS) if ours else alone
        if stops:
            defaults = (signal.SIG_DFL, signal.default_int_handler)
            self.numbers = tuple(each for each in STOP if signal.getsignal(each) in defaults)
        self._put = put
        self._wakeup = wakeup
        self._wakeup_before = -1
        self._before: dict[signal.Signals, Any] = {}
        self._exit_status: int | None = None
        self._came: dict[int, float] = {}

    def __enter__(self) -> SignalHandlers:
        if not _entered:
            _reset_in_children()
        _entered.append(self)
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in self.numbers:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def exit_with(self, status: int) -> None:
        """From now on, also when left, SIGTERM and SIGINT end the process at once with a status.

        For a process whose service has ended, and which exits with that status anyway.
        """
        self._exit_status = status

    def __exit__(self, *_: object) -> None:
        if self._exit_status is None:
            _entered.remove(self)
            self.restore(self._wakeup_before)

    def restore(self, wakeup: int) -> None:
        """Install the handlers of before, and a descriptor for ``signal.set_wakeup_fd``."""
        signal.set_wakeup_fd(wakeup)
        for number, handler in self._before.items():
            # None: the handler was not set from Python, and cannot be put back from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _handle(self, number: int, _frame: object) -> None:
        if number in STOP:
            now = monotonic()
            if now - self._came.get(number, -inf) < SAME:
                return
            self._came[number] = now
        if self._exit_status is None:
            self._put(signal.Signals(number))
        elif number in STOP:
            os._exit(self._exit_status)


_entered: list[SignalHandlers] = []  # in this process, the last one in force
_forking = threading.local()


@functools.cache
def _reset_in_children() -> None:
    """Have processes that this one forks handle signals as if there were no service."""
    os.register_at_fork(
        before=_hold_signals, after_in_parent=_release_signals, after_in_child=_reset_in_child
    )


@atexit.register  # at the import, so that it comes behind nearly all other exit handlers
def _ignore() -> None:
    """Ignore our signals in what is left of the exit, where Python restores their defaults: one
    that comes twice would make a failure of a stop in order.
    """
    for number in {number for handlers in _entered for number in handlers.numbers}:
        signal.signal(number, signal.SIG_IGN)


def _hold_signals() -> None:
    """Block our signals in the thread that forks: one that a child gets early is not lost then."""
    numbers = {number for handlers in _entered for number in handlers.numbers}
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _reset_in_child() -> None:
    while _entered:
        _entered.pop().restore(wakeup=-1)  # what wakes the parent must not
    _release_signals()
