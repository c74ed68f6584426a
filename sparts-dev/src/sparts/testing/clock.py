"""A clock that stands still until a test turns it.

    clock = TurnableClock()
    task.clock = clock          # before the task starts
    ...
    clock.wait_for_waiters(1)   # the task waits for its next run
    clock.turn(60)              # a minute later

`TurnableClock.turn` wakes who waits for a time up to the new one. It jumps: to see ten runs, turn
ten times.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from sparts.clock import CallingCondition, Clock

if TYPE_CHECKING:
    import asyncio


class TurnableClock(Clock):
    """Time that only `turn` and `set_date` move. All methods may be called from any thread.

    Args:
        start: where `monotonic` stands at first, in seconds.
        date: where `time` stands at first, in seconds since the epoch.
    """

    def __init__(self, start: float = 1000.0, date: float = 1_000_000_000.0) -> None:
        """Make a clock that stands still."""
        self.lag: float = 0.0
        self._now = start
        self._date = date - start
        self._changed = threading.Condition()
        self._waiters: dict[int, tuple[threading.Condition, float | None]] = {}
        self._watchers: list[Callable[[], object]] = []
        self.monotonic: Callable[[], float] = lambda: self._now
        self.time: Callable[[], float] = lambda: self._now + self._date

    def turn(self, seconds: float) -> None:
        """Move on by ``seconds`` and wake who waits for a time that has come."""
        with self._changed:
            self._now += seconds
            due = {
                waiter: condition
                for waiter, (condition, until) in self._waiters.items()
                if until is not None and until <= self._now
            }
            for waiter in due:
                del self._waiters[waiter]
        for condition in due.values():
            with condition:
                condition.notify_all()

    def set_date(self, date: float) -> None:
        """Set the date, in seconds since the epoch, as an administrator would.

        Wakes only those who watch the date.
        """
        self._date = date - self._now
        for changed in self._watchers.copy():
            changed()

    def watch_date(self, changed: Callable[[], object]) -> Callable[[], object]:
        """Have ``changed`` called by `set_date`; return the function that ends this."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed)

    def wait(self, condition: threading.Condition, until: float | None = None) -> bool:
        """Wait, with ``condition`` held, until notified or the clock is turned to ``until``."""
        me = threading.get_ident()
        with self._changed:
            if until is not None and until <= self._now:
                return False
            self._waiters[me] = (condition, until)
            self._changed.notify_all()
        try:
            condition.wait()
        finally:
            with self._changed:
                self._waiters.pop(me, None)
        return until is None or self._now < until

    async def wait_async(self, event: asyncio.Event, until: float | None = None) -> None:
        """Wait, in a coroutine, until ``event`` is set; it is when the clock is turned so far."""
        from asyncio import get_running_loop

        loop = get_running_loop()
        wake = CallingCondition(lambda: loop.call_soon_threadsafe(event.set))
        with self._changed:
            if until is not None and until <= self._now:
                event.set()
            self._waiters[id(wake)] = (wake, until)
            self._changed.notify_all()
        try:
            await event.wait()
        finally:
            with self._changed:
                self._waiters.pop(id(wake), None)

    def wait_for_waiters(self, count: int = 1, timeout: float = 10.0) -> list[float | None]:
        """Block until at least ``count`` threads wait by this clock; give what they wait for.

        These are times of `monotonic`, None for those who wait for a notification alone.
        TimeoutError, after ``timeout`` real seconds, says how many do.
        """
        self._wait_for(lambda: len(self._waiters) >= count, f"waiting threads: {count}", timeout)
        return [until for _, until in self._waiters.copy().values()]

    def wait_for_waiter_until(self, until: float, timeout: float = 10.0) -> None:
        """Block until a thread waits by this clock until just this time of `monotonic`.

        TimeoutError, after ``timeout`` real seconds, says what is waited for instead.
        """

        def found() -> bool:
            return any(until == waited for _, waited in self._waiters.values())

        self._wait_for(found, f"a thread to wait until {until:g}", timeout)

    def _wait_for(self, come: Callable[[], bool], what: str, timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(come, timeout):
                times = [until for _, until in self._waiters.values()]
                raise TimeoutError(f"Waited {timeout:g} s for {what} by this clock; now: {times}.")
