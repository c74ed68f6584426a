"""PeriodicTask by a cron expression: time zones, daylight-saving changes, what is missing."""

from __future__ import annotations

import queue
import sys
from datetime import datetime
from typing import ClassVar
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
    return TurnableClock(date=datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


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


def test_every_five_minutes() -> None:
    assert times("*/5 * * * *", "2026-06-01T11:57", 3) == [
        "01 12:00 +0200", "01 12:05 +0200", "01 12:10 +0200",
    ]  # fmt: skip


def test_skipped_time_is_due_right_after() -> None:
    assert times("30 2 * * *", "2026-03-28T12:00", 3) == [
        "29 03:00 +0200", "30 02:30 +0200", "31 02:30 +0200",
    ]  # fmt: skip


def test_time_that_daylight_saving_repeats_is_due_once() -> None:
    assert times("30 2 * * *", "2026-10-24T12:00", 3) == [
        "25 02:30 +0200", "26 02:30 +0100", "27 02:30 +0100",
    ]  # fmt: skip


def test_frequent_runs_ignore_daylight_saving() -> None:
    assert times("*/30 * * * *", "2026-03-29T01:15", 3) == [
        "29 01:30 +0100", "29 03:00 +0200", "29 03:30 +0200",
    ]  # fmt: skip
    assert times("*/30 * * * *", "2026-10-25T01:45", 5) == [
        "25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100",
    ]  # fmt: skip


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


def test_task_runs_when_its_expression_says() -> None:
    class Task(Nightly):
        clock = clock_at("2026-06-01T00:30")

    with running_task(Task) as task:
        for day in ("01", "02", "03"):
            [until] = task.clock.wait_for_waiters()
            assert until is not None
            task.clock.turn(until - task.clock.monotonic())
            assert task.ran.get(timeout=SOON) == f"{day} 02:30"


def test_expression_and_zone_are_options() -> None:
    class Task(Nightly):
        clock = clock_at("2026-06-01T00:00:30", ZoneInfo("UTC"))

    with running(service_of(Task), "--Task-cron", "*/5 * * * *", "--Task-timezone", "UTC"):
        assert Task.clock.wait_for_waiters() == [Task.clock.monotonic() + 270]


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


def test_waiting_task_follows_a_date_that_is_set() -> None:
    class Task(Nightly):
        clock = clock_at("2026-06-01T00:30")

    with running_task(Task) as task:
        Task.clock.wait_for_waiter_until(Task.clock.monotonic() + 7200)
        Task.clock.set_date(Task.clock.time() + 3600)
        Task.clock.wait_for_waiter_until(Task.clock.monotonic() + 3600)
        Task.clock.set_date(Task.clock.time() + 60 * 86400)
        assert task.ran.get(timeout=SOON) == "31 01:30"
        Task.clock.wait_for_waiter_until(Task.clock.monotonic() + 3600)
        assert (task.n_iterations(), task.n_missed()) == (1, 59)


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


@pytest.mark.parametrize("expression", ["", "*/x * * * *", "* * *", "61 * * * *", "0 0 31 2 *"])
def test_invalid_expression_fails_the_start(expression: str) -> None:
    class Task(Nightly):
        CRON = expression or "nonsense"
        clock = clock_at("2026-06-01T00:00")

    with pytest.raises(OptionError, match=r"Task has the cron expression .*such as '\*/5"):
        make_service(service_of(Task)).startBG()


@pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", ""])
def test_zone_that_is_none_fails_the_start(zone: str) -> None:
    class Task(Nightly):
        TIMEZONE = zone
        clock = clock_at("2026-06-01T00:00")

    with pytest.raises(OptionError, match="Task has the time zone"):
        make_service(service_of(Task)).startBG()


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
    class Task(Nightly):
        clock = clock_at("2026-06-01T00:00")

    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(UsageError, match=r"pip install 'sparts-core\[cron\]'"):
        make_service(service_of(Task)).startBG()
