"""The times of cron expressions against a slow oracle, where clocks go forward and back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sparts.tasks.cron import CronTimes
from sparts.tasks.schedules import Cron
from sparts.testing.clock import TurnableClock

ZONES = {
    "Europe/Berlin": 2026,
    "Europe/London": 2026,
    "America/New_York": 2026,
    "America/St_Johns": 2010,  # at one minute past midnight
    "America/Sao_Paulo": 2018,  # at midnight
    "America/Havana": 2026,  # back from one to midnight
    "Asia/Beirut": 2026,
    "Asia/Tehran": 2020,
    "Africa/Casablanca": 2025,  # for Ramadan
    "Australia/Lord_Howe": 2026,  # by half an hour
    "Pacific/Apia": 2011,  # leaves out a day
    "Pacific/Chatham": 2026,  # 12:45 from UTC
    "Antarctica/Troll": 2026,  # by two hours
    "Asia/Tokyo": 2026,  # never
}


class Expression(NamedTuple):
    """Minutes, hours and days that match; None: a ``*``."""

    minutes: tuple[int, ...] | None
    hours: tuple[int, ...] | None
    weekdays: tuple[int, ...] | None

    def __str__(self) -> str:
        texts = ["*" if field is None else ",".join(map(str, field)) for field in self]
        return f"{texts[0]} {texts[1]} * * {texts[2]}"

    def matches(self, local: datetime) -> bool:
        """Whether a local time does."""
        parts = (local.minute, local.hour, local.isoweekday() % 7)
        return all(field is None or part in field for field, part in zip(self, parts, strict=True))


@cache
def changes(zone: str) -> tuple[datetime, ...]:
    """Find when the offset of a zone changes in its year, to the minute."""
    info, hour = ZoneInfo(zone), timedelta(hours=1)
    start = datetime(ZONES[zone], 1, 1, tzinfo=UTC)
    found = []
    for number in range(366 * 24):
        at = start + number * hour
        if at.astimezone(info).utcoffset() != (at + hour).astimezone(info).utcoffset():
            minutes = (at + timedelta(minutes=minute) for minute in range(61))
            old = at.astimezone(info).utcoffset()
            found.append(next(m for m in minutes if m.astimezone(info).utcoffset() != old))
    return tuple(found) or (start,)


def oracle(expression: Expression, zone: str, start: datetime) -> Iterator[datetime]:
    """Give the times after ``start``, looking at every minute of UTC."""
    info, minute = ZoneInfo(zone), timedelta(minutes=1)
    fixed = expression.minutes is not None and expression.hours is not None
    at = start.replace(second=0, microsecond=0) - timedelta(days=2)
    reached = at.astimezone(info).replace(tzinfo=None)
    while True:
        at += minute
        local = at.astimezone(info).replace(tzinfo=None)
        due = expression.matches(local)
        if fixed:
            due = False
            while reached < local:  # more than one minute after a gap, none when it went back
                reached += minute
                due = due or expression.matches(reached)
        if due and at > start:
            yield at


def fields(most: int) -> st.SearchStrategy[tuple[int, ...] | None]:
    """Draw what stands in a field, or a star."""
    some = st.lists(st.integers(0, most), min_size=1, max_size=3, unique=True)
    return st.none() | some.map(lambda values: tuple(sorted(values)))


EXPRESSIONS = st.builds(
    Expression, fields(59), fields(23) | st.sampled_from([(0,), (1, 2), (2, 3), (0, 23)]),
    st.none() | st.just((0, 1)) | fields(6),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    expression=EXPRESSIONS,
    zone=st.sampled_from(sorted(ZONES)),
    which=st.integers(0, 3),
    seconds=st.integers(-30 * 3600, 30 * 3600),
)
@example(Expression((30,), (2,), None), "Europe/Berlin", 1, 600)  # between the two occurrences
@example(Expression((0, 30), (2,), None), "Europe/Berlin", 0, -60)  # two of them in a gap
@example(Expression((0,), (0,), None), "America/Sao_Paulo", 1, -60)
@example(Expression((0, 20), None, None), "Australia/Lord_Howe", 0, -3600)
def test_times_are_those_of_the_oracle(
    expression: Expression, zone: str, which: int, seconds: int
) -> None:
    found = changes(zone)
    start = found[which % len(found)] + timedelta(seconds=seconds)
    times = CronTimes(str(expression), ZoneInfo(zone))
    wanted = [int(at.timestamp()) for at in islice(oracle(expression, zone, start), 4)]
    at: float = start.timestamp()
    for due in wanted:
        assert times.after(at) == due
        if not times.fixed:  # else one run may stand for several times in a gap
            assert times.between(at, due) == 1
            assert times.between(start.timestamp(), due) == wanted.index(due) + 1
        assert times.between(at, due - 1) == 0
        at = due


@pytest.mark.parametrize("minute", [0, 10, 29, 30, 31, 59])
def test_start_in_the_repeated_hour_waits_for_tomorrow(minute: int) -> None:
    start = datetime(2026, 10, 25, 1, minute, tzinfo=UTC)  # 02:xx, the second time
    clock = TurnableClock(date=start.timestamp())
    schedule = Cron(clock, "30 2 * * *", "Europe/Berlin", 0.0, "Task", str)
    tomorrow = datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    assert schedule.due() - clock.monotonic() == (tomorrow - start).total_seconds()


def test_seconds_are_found_in_steps_of_their_own() -> None:
    times = CronTimes("*/20 59 1 * * *", ZoneInfo("Europe/Berlin"))
    at = datetime(2026, 3, 29, 0, 58, tzinfo=UTC).timestamp()
    found = [at := times.after(at) for _ in range(4)]
    first = datetime(2026, 3, 29, 0, 59, tzinfo=UTC).timestamp()
    day = 23 * 3600  # the clock goes forward
    assert found == [first, first + 20, first + 40, first + day]
    assert times.between(first - 1, first + day) == 4


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Australia/Lord_Howe"])
@pytest.mark.parametrize("expression", ["7,37 * * * *", "5 3 * * 1", "0 */5 1-7 * *"])
def test_count_over_years_is_the_number_of_steps(expression: str, zone: str) -> None:
    times = CronTimes(expression, ZoneInfo(zone))
    at, end = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2024, 2026))
    wanted, count = times.between(at, end), 0
    while (at := times.after(at)) <= end:
        count += 1
    assert count == wanted
