"""Where time comes from: one small object that a test can replace.

A task reads the time from, and waits by, its attribute ``clock``. `SYSTEM` is the real one;
`sparts.testing.clock.TurnableClock` stands still until a test turns it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class CallingCondition(threading.Condition):
    """A condition that calls a function, too, whenever it is notified; the lock is held then."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self._call = call

    def notify(self, n: int = 1) -> None:
        """Wake ``n`` threads that wait, and call the function."""
        super().notify(n)
        self._call()


class Clock:
    """The machine's clock. All methods may be called from any thread."""

    # The functions themselves, and not methods that call them: `samples` asks with every value.
    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds since some fixed point; never goes back, whatever happens to the date."""

    time: Callable[[], float] = staticmethod(time.time)
    """Seconds since the epoch (UTC): the date, which may be set forward or back."""

    lag: float = 0.01
    """Seconds by which the date that C shows, as `time.localtime()` does, may lag behind `time`."""

    def watch_date(self, changed: Callable[[], object]) -> Callable[[], object]:
        """Have ``changed`` called whenever the date is set, in a thread of its own.

        It must not raise or block. Returns the function that ends this; call that, too.
        """
        from sparts.date_watch import watch_date

        return watch_date(changed)

    def wait(self, condition: threading.Condition, until: float | None = None) -> bool:
        """Wait, with ``condition`` held, until it is notified or `monotonic` reaches ``until``.

        None waits for the notification alone. False when the time ran out. As with
        `threading.Condition.wait`, look at what was waited for again afterwards.
        """
        if until is None:
            return condition.wait()
        return condition.wait(min(until - self.monotonic(), threading.TIMEOUT_MAX))

    async def wait_async(self, event: asyncio.Event, until: float | None = None) -> None:
        """Wait, in a coroutine, until ``event`` is set; it is when `monotonic` reaches ``until``.

        None waits for the event alone.
        """
        if until is None:
            await event.wait()
            return
        from asyncio import get_running_loop

        timer = get_running_loop().call_later(until - self.monotonic(), event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()


SYSTEM = Clock()


def retry_delay(attempt: int, first: float, longest: float, jitter: float = 0.5) -> float:
    """Return the seconds to wait before another attempt: ``first``, and twice as many each time.

    Args:
        attempt: how many attempts were repeated before; 0 after the first failure.
        first, longest: seconds.
        jitter: the share of the wait that is random, so that what failed together does not return
            together.
    """
    import random  # here, because few need it and it takes its time

    wait = min(longest, first * 2.0 ** min(attempt, 100), 1e9)  # no system waits for longer
    return wait * max(0.0, 1 - jitter * random.random())  # noqa: S311 - no secret


def timeout_of(seconds: float) -> float | None:
    """Return ``seconds``, or None if they are infinite, as `threading` and `asyncio` expect it."""
    return None if seconds == math.inf else seconds
