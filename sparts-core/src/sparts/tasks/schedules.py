"""When a periodic task is due: by an interval, or by a cron expression."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from sparts.errors import OptionError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from sparts.clock import Clock


class Schedule(Protocol):
    """A row of times at which something is due."""

    interval: float
    """How long a run may take, in seconds, without being slow."""

    def due(self) -> float:
        """The next time, by the monotonic clock in seconds, with its jitter."""

    def passed(self, now: float) -> int:
        """Go on to the first time after ``now``; return how many others were passed over."""


def spread(jitter: float) -> float:
    """A random delay of 0 to ``jitter`` seconds."""
    if not jitter:
        return 0.0
    import random

    return random.random() * jitter  # noqa: S311 - spreads load, hides nothing


class Every:
    """Due at start + n x interval, whatever the runs take.

    Args:
        clock: where time comes from.
        interval: seconds between two times.
        jitter: seconds that a time is delayed by at most; the delays do not add up.
        at_start: whether the start is a time, too.
    """

    def __init__(self, clock: Clock, interval: float, jitter: float, at_start: bool) -> None:
        """Start now."""
        self.interval = interval
        self._jitter = jitter
        self._start = clock.monotonic()
        self._number = 0 if at_start else 1
        self._delay = 0.0 if at_start else spread(jitter)

    def change(self, interval: float) -> None:
        """From the last time on, count with another interval."""
        if interval != self.interval:
            self._start += (self._number - 1) * self.interval
            self._number, self.interval = 1, interval

    def due(self) -> float:
        """See `Schedule`."""
        return self._start + self._number * self.interval + self._delay

    def passed(self, now: float) -> int:
        """See `Schedule`."""
        number = self._number
        # One less than the division says, which may be rounded either way.
        self._number = max(number, int((now - self._start) / self.interval) - 1)
        while self._start + self._number * self.interval <= now:
            self._number += 1
        self._delay = spread(self._jitter)
        return self._number - number - 1


class Cron:
    """Due when a cron expression says so in a time zone; daylight-saving changes as cron has them.

    Times that a change skips are due right after it, times that it repeats once; what runs every
    few minutes or every hour simply goes on.

    Args:
        clock: where time and date come from.
        expression: five fields, or six with seconds first.
        zone: a name such as ``Europe/Berlin``.
        jitter: seconds that a time is delayed by at most.
        task: the name of the task, for errors.

    Raises:
        UsageError: the extra is not installed.
        OptionError: the expression or the zone is none.
    """

    def __init__(self, clock: Clock, expression: str, zone: str, jitter: float, task: str) -> None:
        """Start now."""
        from datetime import datetime
        from zoneinfo import ZoneInfo

        try:
            from cronsim import CronSim, CronSimError
        except ImportError:
            raise UsageError(
                f"{task} has the cron expression {expression!r}, and reading it needs an extra: "
                f"pip install 'sparts-core[cron]'"
            ) from None
        try:
            self._zone = ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            raise OptionError(
                f"{task} has the time zone {zone!r}, which this system does not know; names are "
                f"such as Europe/Berlin or UTC."
            ) from None
        self.interval = inf
        self._clock = clock
        self._jitter = jitter
        now = datetime.fromtimestamp(clock.time(), self._zone)
        try:
            self._times = CronSim(expression, now)
            self._next = self._advance()
        except (CronSimError, StopIteration) as error:
            raise OptionError(
                f"{task} has the cron expression {expression!r}, which is none: "
                f"{str(error) or 'no such date comes'}. Give minute, hour, day, month and weekday, "
                f"such as '*/5 * * * *'."
            ) from None
        self._delay = spread(jitter)

    def _advance(self) -> float:
        when: datetime = next(self._times)
        return when.timestamp()

    def due(self) -> float:
        """See `Schedule`."""
        return self._clock.monotonic() + self._next + self._delay - self._clock.time()

    def passed(self, now: float) -> int:
        """See `Schedule`."""
        missed = -1
        date = self._clock.time() + now - self._clock.monotonic()
        while self._next <= date:
            self._next = self._advance()
            missed += 1
        self._delay = spread(self._jitter)
        return missed
