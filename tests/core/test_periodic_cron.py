"""PeriodicTask by a cron expression: time zones, daylight-saving changes, what is missing."""

from __future__ import annotations

import queue
import sys
import time
from calendar import timegm
from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import pytest
from sparts.errors import OptionError, UsageError
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.schedules import Cron
from sparts.testing.clock import TurnableClock
from sparts.testing.running import make_service, running, running_task, service_of

SOON = 10
BERLIN = ZoneInfo("Europe/Berlin")


def clock_at(text: str, zone: ZoneInfo = BERLIN) -> TurnableClock:
    """Make a clock that stands at a local time."""
    date = datetime.fromisoformat(text)
    return TurnableClock(date=(date if date.tzinfo else date.replace(tzinfo=zone)).timestamp())


def times(expression: str, start: str, count: int, zone: str = "Europe/Berlin") -> list[str]:
    """Run through a schedule; give its times as local time with the offset from UTC."""
    info = ZoneInfo(zone)
    clock = clock_at(start, info)
    schedule = Cron(clock, expression, zone, 0.0, "Task", str)
    found = []
    for _ in range(count):
        clock.turn(schedule.due() - clock.monotonic())
        found.append(datetime.fromtimestamp(round(clock.time()), info).strftime("%d %H:%M %z"))
        assert schedule.passed(clock.monotonic()) == 0
    return found


@pytest.mark.parametrize(
    ("expression", "start", "wanted"),
    [
        ("*/5 * * * *", "2026-06-01T11:57", "01 12:00 +0200, 01 12:05 +0200, 01 12:10 +0200"),
        # A time that is skipped is due right after, one that is repeated is due once.
        ("30 2 * * *", "2026-03-28T12:00", "29 03:00 +0200, 30 02:30 +0200, 31 02:30 +0200"),
        ("30 2 * * *", "2026-10-24T12:00", "25 02:30 +0200, 26 02:30 +0100, 27 02:30 +0100"),
        # Frequent runs ignore daylight saving.
        ("*/30 * * * *", "2026-03-29T01:15", "29 01:30 +0100, 29 03:00 +0200, 29 03:30 +0200"),
        ("*/30 * * * *", "2026-10-25T01:45", "25 02:00 +0200, 25 02:30 +0200, 25 02:00 +0100"),
        ("*/30 * * * *", "2026-10-25T02:15+0100", "25 02:30 +0100, 25 03:00 +0100"),
    ],
)
def test_times_follow_daylight_saving(expression: str, start: str, wanted: str) -> None:
    expected = wanted.split(", ")
    assert times(expression, start, len(expected)) == expected


def test_libraries_show_the_time_that_has_come() -> None:
    dates: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()

    class Asks(PeriodicTask):
        CRON = "* * * * * *"

        def execute(self, context: ExecuteContext | None = None) -> None:
            dates.put((int(time.time()), timegm(time.gmtime())))  # gmtime asks C, whose clock lags

    with running(service_of(Asks)):
        for _ in range(2):
            date, shown = dates.get(timeout=SOON)
            assert shown >= date


def test_zone_decides_when_a_day_begins() -> None:
    assert times("0 0 * * *", "2026-06-01T12:00", 1, "Asia/Tokyo") == ["02 00:00 +0900"]
    assert times("0 0 * * *", "2026-06-01T12:00", 1, "UTC") == ["02 00:00 +0000"]


class Nightly(PeriodicTask):
    """A task by cron that notes when it ran."""

    CRON = "30 2 * * *"
    TIMEZONE = "Europe/Berlin"
    clock: TurnableClock

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.ran: queue.SimpleQueue[str] = queue.SimpleQueue()

    def execute(self, context: ExecuteContext | None = None) -> None:
        self.ran.put(datetime.fromtimestamp(self.clock.time(), BERLIN).strftime("%d %H:%M"))


def nightly(start: str = "2026-06-01T00:30", **attributes: Any) -> type[Nightly]:
    """Make such a task, with a clock that stands at a local time."""
    return type("Task", (Nightly,), {"clock": clock_at(start), **attributes})


def test_task_runs_when_its_expression_says() -> None:
    with running_task(nightly()) as task:
        for day in ("01", "02", "03"):
            [until] = task.clock.wait_for_waiters()
            assert until is not None
            task.clock.turn(until - task.clock.monotonic())
            assert task.ran.get(timeout=SOON) == f"{day} 02:30"


def test_expression_and_zone_are_options() -> None:
    argv = ("--Task-cron", "*/5 * * * *", "--Task-timezone", "UTC")
    with running_task(nightly("2026-06-01T02:00:30"), *argv) as task:
        assert task.clock.wait_for_waiters() == [task.clock.monotonic() + 270]


def test_one_run_makes_up_for_passed_times() -> None:
    clock = clock_at("2026-06-01T00:00")
    schedule = Cron(clock, "0 * * * *", "UTC", 0.0, "Task", str)
    clock.turn(3.5 * 3600)
    assert schedule.due() <= clock.monotonic()
    assert schedule.passed(clock.monotonic()) == 2
    assert schedule.due() == pytest.approx(clock.monotonic() + 1800)


def test_changed_date_is_believed() -> None:
    clock = clock_at("2026-06-01T00:00", ZoneInfo("UTC"))
    schedule = Cron(clock, "0 12 * * *", "UTC", 0.0, "Task", str)
    assert schedule.due() == pytest.approx(clock.monotonic() + 12 * 3600)
    clock.set_date(clock.time() + 11 * 3600)
    assert schedule.due() == pytest.approx(clock.monotonic() + 3600)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_one_run_makes_up_for_a_jump(zone: str) -> None:
    """Half a century of seconds, which nothing could step through."""
    clock = clock_at("1970-01-02T00:00", ZoneInfo("UTC"))
    schedule = Cron(clock, "* * * * * *", zone, 0.0, "Task", str)
    clock.set_date(clock_at("2026-06-01T00:00:00.5", ZoneInfo("UTC")).time())
    assert schedule.due() <= clock.monotonic()
    missed = schedule.passed(clock.monotonic())
    assert missed == (datetime(2026, 6, 1) - datetime(1970, 1, 2)).total_seconds() - 1
    assert schedule.due() == pytest.approx(clock.monotonic() + 0.5)


@pytest.mark.parametrize("expression", ["*/5 * * * *", "30 2 * * *"])
def test_date_far_back_is_counted_from(expression: str) -> None:
    clock = clock_at("2026-06-01T02:30", ZoneInfo("UTC"))
    schedule = Cron(clock, expression, "UTC", 0.0, "Task", str)
    clock.set_date(clock_at("2016-06-01T02:27", ZoneInfo("UTC")).time())
    assert schedule.due() == pytest.approx(clock.monotonic() + 180)


def test_date_little_back_repeats_no_fixed_time() -> None:
    clock = clock_at("2026-06-01T02:31", ZoneInfo("UTC"))
    daily = Cron(clock, "30 2 * * *", "UTC", 0.0, "Task", str)
    often = Cron(clock, "*/10 * * * *", "UTC", 0.0, "Task", str)
    clock.set_date(clock.time() - 3600)
    assert daily.due() == pytest.approx(clock.monotonic() + 25 * 3600 - 60)
    assert often.due() == pytest.approx(clock.monotonic() + 9 * 60)


def test_waiting_coroutine_follows_a_date_that_is_set() -> None:
    class Task(AsyncPeriodicTask):
        CRON = "30 2 * * *"
        TIMEZONE = "Europe/Berlin"
        clock = clock_at("2026-06-01T00:30")
        ran: ClassVar[queue.SimpleQueue[float]] = queue.SimpleQueue()

        async def execute(self, context: ExecuteContext | None = None) -> None:
            self.ran.put(self.clock.time())

    with running(service_of(Task)):
        Task.clock.wait_for_waiter_until(Task.clock.monotonic() + 7200)
        Task.clock.set_date(Task.clock.time() + 86400)
        assert Task.ran.get(timeout=SOON) == Task.clock.time()


def test_jitter_delays_cron_times_too() -> None:
    clock = clock_at("2026-06-01T00:00", ZoneInfo("UTC"))
    delays = {
        round(Cron(clock, "0 12 * * *", "UTC", 60.0, "T", str).due() - clock.monotonic())
        - 12 * 3600
        for _ in range(100)
    }
    assert len(delays) > 10
    assert min(delays) >= 0
    assert max(delays) <= 60


INVALID = [("CRON", text) for text in ("no", "*/x * * * *", "* * *", "61 * * * *", "0 0 31 2 *")]
INVALID += [("TIMEZONE", text) for text in ("Europe/Atlantis", "../etc/passwd", "")]
PROBLEMS = {
    "CRON": r"Task has the cron expression .*such as '\*/5",
    "TIMEZONE": "Task has the time zone",
}


@pytest.mark.parametrize(("name", "value"), INVALID)
def test_invalid_schedule_fails_the_start(name: str, value: str) -> None:
    with pytest.raises(OptionError, match=PROBLEMS[name]):
        make_service(service_of(nightly(**{name: value}))).startBG()


@pytest.mark.parametrize("base", [PeriodicTask, AsyncPeriodicTask])
@pytest.mark.parametrize(("option", "value"), [("cron", "61 * * * *"), ("timezone", "Mars/Base")])
def test_invalid_schedule_is_refused_at_run_time(
    base: type[PeriodicTask], option: str, value: str
) -> None:
    job = type("Job", (base,), {"CRON": "0 0 1 1 *", "execute": lambda self, context: None})
    with running(service_of(job)) as service:
        before = service.getOptions()
        with pytest.raises(OptionError, match="Job has the"):
            service.setOption(f"Job_{option}", value)
        assert service.getOptions() == before


def test_missing_extra_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(UsageError, match=r"pip install 'sparts-core\[cron\]'"):
        make_service(service_of(nightly())).startBG()
