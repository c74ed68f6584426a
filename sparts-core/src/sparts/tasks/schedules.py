"""When a periodic task is due: by an interval, or by a cron expression."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from sparts.errors import OptionError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.clock import Clock


class Schedule(Protocol):
    """A row of times at which something is due."""

    interval: float
    """How long a run may take, in seconds, without being slow; 0: as long as it likes."""

    def due(self) -> float:
        """The next time, by the monotonic clock in seconds, with its jitter."""

    def passed(self, now: float) -> int:
        """Go on to the first time after ``now``; return how many others were passed over."""

    def watch(self, changed: Callable[[], object]) -> Callable[[], object]:
        """Have a function called when `due` may give another time; return what ends that."""


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
        interval: seconds between two times; 0: always due.
        jitter: seconds that a time is delayed by at most; the delays do not add up.
        at_start: whether the start is a time, too.
    """

    def __init__(self, clock: Clock, interval: float, jitter: float, at_start: bool) -> None:
        """Start now."""
        self.interval: float = interval
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
        if not self.interval:
            self._start, self._delay = now, spread(self._jitter)
            return 0
        # One less than the division says, which may be rounded either way.
        self._number = max(number, int((now - self._start) / self.interval) - 1)
        while self._start + self._number * self.interval <= now:
            self._number += 1
        self._delay = spread(self._jitter)
        return self._number - number - 1

    def watch(self, changed: Callable[[], object]) -> Callable[[], object]:
        """See `Schedule`; the date does not matter."""
        return lambda: None


class Cron:
    """Due when a cron expression says so in a time zone; daylight-saving changes as cron has them.

    Times that a change skips are due right after it, times that it repeats once; what runs every
    few minutes or every hour simply goes on. When somebody sets the date, it counts from then on.
    But certain times of a day are not due again if the date is set back by less than three hours,
    and nothing is for less than a minute. A time is due when C's clock shows it too
    (`Clock.lag`): a run at midnight finds the new day in ``time.strftime("%F")``.

    Args:
        clock: where time and date come from.
        expression: five fields, or six with seconds first.
        zone: a name such as ``Europe/Berlin``.
        jitter: seconds that a time is delayed by at most.
        task: the name of the task, for errors.
        where: from the option "cron" or "timezone" to where its value is from, for errors.

    Raises:
        UsageError: the extra is not installed.
        OptionError: the expression or the zone is none.
    """

    def __init__(
        self,
        clock: Clock,
        expression: str,
        zone: str,
        jitter: float,
        task: str,
        where: Callable[[str], str],
    ) -> None:
        """Start now."""
        from zoneinfo import ZoneInfo

        try:
            from cronsim import CronSimError
            from sparts.tasks.cron import CronTimes
        except ImportError:
            raise UsageError(
                f"{task} has the cron expression {expression!r}, and reading it needs an extra: "
                f"pip install 'sparts-core[cron]'"
            ) from None
        try:
            found = ZoneInfo(zone)
        except (LookupError, ValueError, OSError):
            raise OptionError(
                f"{task} has the time zone {zone!r}, which this system does not know; names are "
                f"such as Europe/Berlin or UTC. See {where('timezone')}."
            ) from None
        self.interval = inf
        self._clock = clock
        self._jitter = jitter
        try:
            self._times = CronTimes(expression, found)
            self._plan(clock.time())
        except (CronSimError, ValueError) as error:
            raise OptionError(
                f"{task} has the cron expression {expression!r}, which is none: {error}. Give "
                f"minute, hour, day, month and weekday, such as '*/5 * * * *'. "
                f"See {where('cron')}."
            ) from None
        self._most_repeated = 3 * 3600.0 if self._times.fixed else 60.0

    def _plan(self, date: float) -> None:
        self._planned = date
        self._next = self._times.after(date)
        self._delay = spread(self._jitter)

    def due(self) -> float:
        """See `Schedule`."""
        date = self._clock.time()
        if date < self._planned - self._most_repeated:  # somebody has set it back
            self._plan(date)
        return self._clock.monotonic() + self._next + self._delay + self._clock.lag - date

    def passed(self, now: float) -> int:
        """See `Schedule`."""
        date = max(self._next, self._clock.time() + now - self._clock.monotonic())
        missed = self._times.between(self._next, date)
        self._plan(date)
        return missed

    def watch(self, changed: Callable[[], object]) -> Callable[[], object]:
        """See `Schedule`."""
        return self._clock.watch_date(changed)
