"""Signals: handlers that do nothing but put to a queue, on which the main thread acts.

A handler runs between two instructions of the main thread, which may hold any lock just then: so
it must not take one. ``SimpleQueue.put`` is made for that; ``Event.set`` is not.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import threading
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

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
