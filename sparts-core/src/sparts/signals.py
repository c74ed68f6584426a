"""Signals: handlers that do nothing but put to a queue, on which the main thread acts.

A handler runs between two instructions of the main thread, which may hold any lock just then: so
it must not take one. ``SimpleQueue.put`` is made for that; ``Event.set`` is not.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STOP = (signal.SIGTERM, signal.SIGINT)
RELOAD = signal.SIGHUP
STACKS = signal.SIGUSR1


class SignalHandlers:
    """The handlers of a service's process, while it is entered; in the main thread only."""

    def __init__(self, put: Callable[[signal.Signals], None]) -> None:
        self._put = put
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> SignalHandlers:
        for number in (*STOP, RELOAD, STACKS):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            # None: the handler was not set from Python, and cannot be put back from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _handle(self, number: int, _frame: object) -> None:
        self._put(signal.Signals(number))
