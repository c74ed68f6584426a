"""The times of a cron expression in a time zone, through changes of its offset from UTC."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from cronsim import CronSim

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

_DAY = 86400
_EPOCH = date(1970, 1, 1).toordinal()
_DAYS = 50 * 366  # a date that does not come within these never comes


class CronTimes:
    """Finds the times of an expression. A *date* is in seconds since the epoch; whole seconds.

    With a ``*`` in the minutes or hours, or with seconds, the expression means every moment at
    which the clock on the wall matches. Without, it means certain times of a day, as in Debian's
    cron: each comes once when the clock goes back, and right after the gap when it goes forward.

    Args:
        expression: five fields, or six with seconds first.
        zone: the time zone.

    Raises:
        cronsim.CronSimError: the expression is not valid.
    """

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        self._zone = zone
        self._parsed = CronSim(expression, datetime(2000, 1, 1))
        fields = expression.split()
        self.fixed: bool = len(fields) == 5 and not any(each[0] == "*" for each in fields[:2])
        """Whether the expression means certain times of a day."""
        self._times = array(  # those of a day, in seconds
            "I",
            (
                hour * 3600 + minute * 60 + second
                for hour in sorted(self._parsed.hours)
                for minute in sorted(self._parsed.minutes)
                for second in sorted(self._parsed.seconds)
            ),
        )

    def after(self, moment: float) -> int:
        """Return the first time after a date.

        Raises:
            ValueError: none comes within fifty years.
        """
        at = int(moment // 1)
        if self.fixed:
            local = self._match(self._reached(at) + 1)
            while (found := self._first(local)) <= at:  # in a gap that has just ended
                local = self._match(local + 1)
            return found
        at += 1
        while True:
            offset = self._offset(at)
            found = self._match(at + offset) - offset
            change = self._change(at, found)
            if change is None:
                return found
            at = change

    def between(self, first: float, last: float) -> int:
        """Return how many times come after ``first`` and not after ``last``."""
        at, end = int(first // 1), int(last // 1)
        if self.fixed:
            return self._count(self._reached(at) + 1, self._reached(end) + 1)
        at, total = at + 1, 0
        while at <= end:
            offset = self._offset(at)
            change = self._change(at, end) or end + 1
            total += self._count(at + offset, change + offset)
            at = change
        return total

    # Local seconds below are what the clock on the wall shows, counted as if it showed UTC.

    def _match(self, local: int) -> int:
        """The first local second from this one on that matches."""
        day, second = divmod(local, _DAY)
        for later in range(day, day + _DAYS):
            at = bisect_left(self._times, second if later == day else 0)
            if at < len(self._times) and self._on(later):
                return later * _DAY + self._times[at]
        raise ValueError("no such date comes")

    def _count(self, first: int, end: int) -> int:
        """How many local seconds from ``first`` to before ``end`` match."""
        return sum(
            bisect_left(self._times, min(end - day * _DAY, _DAY))
            - bisect_left(self._times, max(first - day * _DAY, 0))
            for day in range(first // _DAY, (end - 1) // _DAY + 1)
            if self._on(day)
        )

    def _on(self, day: int) -> bool:
        found = date.fromordinal(_EPOCH + day)
        return found.month in self._parsed.months and self._parsed.match_day(found)

    def _offset(self, at: int) -> int:
        return _seconds(datetime.fromtimestamp(at, self._zone))

    def _change(self, at: int, end: int) -> int | None:
        """The first date after ``at``, up to ``end``, at which the offset is another."""
        offset = self._offset(at)
        while at < end:
            later = min(at + _DAY, end)
            if self._offset(later) != offset:
                while later - at > 1:
                    middle = (at + later) // 2
                    at, later = (middle, later) if self._offset(middle) == offset else (at, middle)
                return later
            at = later
        return None

    def _first(self, local: int) -> int:
        """The date at which the clock shows a local second or, after a gap, a later one."""
        shown = datetime.fromtimestamp(local, UTC)
        before, after = (
            local - _seconds(shown.replace(tzinfo=self._zone, fold=fold)) for fold in (0, 1)
        )
        return self._change(after, before) or before  # only in a gap is `after` the earlier one

    def _reached(self, at: int) -> int:
        """The last local second that has come at a date, also if the clock went back since."""
        local = at + self._offset(at)
        first = self._first(local)
        change = self._change(first, at)
        return local if change is None else change - 1 + self._offset(first)


def _seconds(shown: datetime) -> int:
    """The offset of a time with a zone from UTC."""
    offset = shown.utcoffset()
    assert offset is not None  # noqa: S101 - every ZoneInfo has one
    return int(offset.total_seconds())
