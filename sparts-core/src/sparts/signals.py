"""Signals: handlers that do nothing but put to a queue, on which the main thread acts.

A handler runs between two instructions of the main thread, which may hold any lock just then: so
it must not take one. ``SimpleQueue.put`` is made for that; ``Event.set`` is not.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP
STACKS = signal.SIGUSR1


class SignalHandlers:
    """The handlers of a service's process, while it is entered; in the main thread only.

    Args:
        put: what a handler does with its signal; it must not take a lock.
        wakeup: a descriptor to which the system writes when a signal comes, whoever handles it, and
            which wakes who waits there.
        ours: whether all signals are the service's. If not, only SIGINT is, and that only where the
            application left it to Python, whose handler would raise in the midst of our work.
    """

    def __init__(
        self, put: Callable[[signal.Signals], None], wakeup: int, ours: bool = True
    ) -> None:
        left = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        alone = (signal.SIGINT,) if left else ()
        self._numbers = (*STOP, RELOAD, STACKS) if ours else alone
        self._put = put
        self._wakeup = wakeup
        self._wakeup_before = -1
        self._before: dict[signal.Signals, Any] = {}
        self._exit_status: int | None = None

    def __enter__(self) -> SignalHandlers:
        self._wakeup_before = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._handle)
        return self

    def exit_with(self, status: int) -> None:
        """From now on, also when left, SIGTERM and SIGINT end the process at once with a status.

        For a process whose service has ended, and which exits with that status anyway.
        """
        self._exit_status = status

    def __exit__(self, *_: object) -> None:
        if self._exit_status is not None:
            return
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            # None: the handler was not set from Python, and cannot be put back from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _handle(self, number: int, _frame: object) -> None:
        if self._exit_status is None:
            self._put(signal.Signals(number))
        elif number in STOP:
            os._exit(self._exit_status)
