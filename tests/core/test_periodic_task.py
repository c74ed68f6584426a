"""PeriodicTask: on time without drift, overruns, retries, and the end of its schedule."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sparts.clock import Clock
from sparts.errors import OptionError
from sparts.states import TaskState
from sparts.tasks.periodic import TryLater
from sparts.tasks.schedules import Every
from sparts.testing.clock import TurnableClock
from sparts.testing.running import make_service, running_task, service_of
from sparts.testing.waiting import WAIT, wait_state

from tests.core import periodic_tasks
from tests.core.periodic_tasks import START, AsyncTicking, Ticking, ran_once

Make = Callable[..., type[Ticking]]


@pytest.fixture(params=[Ticking, AsyncTicking], ids=["thread", "coroutine"])
def ticking(request: pytest.FixtureRequest) -> Make:
    """Makes a task type with a clock of its own; the test is run for both kinds."""
    return partial(periodic_tasks.ticking, request.param)


def put_off(after: float | None = None) -> None:
    """Put a run off."""
    raise TryLater("later", after=after)


def test_first_run_is_at_the_start(ticking: Make) -> None:
    with running_task(ticking()) as task:
        assert task.ran.get(timeout=WAIT) == 0


def test_first_run_waits_without_run_at_start(ticking: Make) -> None:
    with running_task(ticking(RUN_AT_START=False)) as task:
        assert task.next_run() == 10
    with running_task(ticking(), "--no-Ticker-run-at-start") as task:
        assert task.next_run() == 10


def test_runs_are_due_at_start_plus_intervals(ticking: Make) -> None:
    with running_task(ticking()) as task:
        for _ in range(20):
            task.work.put(lambda: task.clock.turn(3.7))
        assert [task.ran.get(timeout=WAIT), *(task.next_run() for _ in range(19))] == [
            number * 10 for number in range(20)
        ]
        task.waits_until()
        assert task.n_iterations() == 20
        assert task.n_slow_iterations() == task.n_missed() == 0
        assert task.execute_duration_ms.getCounter("execute_duration_ms.max.60") == (
            pytest.approx(3700)
        )


def test_late_wake_up_does_not_move_the_schedule(ticking: Make) -> None:
    with ran_once(ticking()) as task:
        task.clock.turn(14)
        assert task.ran.get(timeout=WAIT) == 14
        assert task.waits_until() == 20


def test_one_run_makes_up_for_an_overrun(ticking: Make) -> None:
    with ran_once(ticking()) as task:
        task.work.put(lambda: task.clock.turn(35))
        assert task.next_run() == 10
        assert task.ran.get(timeout=WAIT) == 45
        assert task.waits_until() == 50
        assert task.n_missed() == 2
        assert task.n_slow_iterations() == 1
        assert task.n_iterations() == 3


@settings(max_examples=300, deadline=None)
@given(
    interval=st.floats(0.001, 1000),
    waits=st.lists(st.floats(0, 5000), max_size=40),
)
@example(interval=0.001, waits=[0.001, 59.0])  # 59,001 intervals by division, 59,000 by product
def test_schedule_never_leaves_its_grid(interval: float, waits: list[float]) -> None:
    clock = TurnableClock(0.0)
    schedule = Every(clock, interval, 0.0, at_start=True)
    number = 0
    for wait in waits:
        assert schedule.due() == number * interval
        clock.turn(wait)
        if schedule.due() <= clock.monotonic():
            number += 1 + schedule.passed(clock.monotonic())
            assert schedule.due() > clock.monotonic()
            assert (number - 1) * interval <= clock.monotonic()


def test_schedule_goes_on_when_division_is_rounded_down() -> None:
    clock = TurnableClock(1000.0)
    schedule = Every(clock, 8.023, 0.0, at_start=False)
    clock.turn(65 * 8.023)  # 64.99999999999999 intervals, by division
    schedule.passed(clock.monotonic())
    assert schedule.due() > clock.monotonic()


def test_jitter_stays_in_bounds_and_never_adds_up() -> None:
    clock = TurnableClock(0.0)
    schedule = Every(clock, 10.0, 4.0, at_start=False)
    delays = []
    for number in range(1, 500):
        due = schedule.due()
        assert schedule.due() == due
        delays.append(due - number * 10)
        clock.turn(due - clock.monotonic())
        assert schedule.passed(clock.monotonic()) == 0
    assert 0 <= min(delays) < 1
    assert 3 < max(delays) <= 4
    assert 1 < sum(delays) / len(delays) < 3


def test_jitter_of_a_task_is_an_option(ticking: Make) -> None:
    with running_task(ticking(RUN_AT_START=False), "--Ticker-jitter", "5s") as task:
        assert 10 < task.waits_until() < 15


@pytest.mark.parametrize("interval", ["90s", "1m30s", 90, 90.0, timedelta(seconds=90)])
def test_interval_is_seconds_or_a_duration(ticking: Make, interval: Any) -> None:
    with running_task(ticking(INTERVAL=interval)) as task:
        assert task.waits_until() == 90


def test_interval_is_an_option(ticking: Make) -> None:
    with running_task(ticking(), "--Ticker-interval", "2m") as task:
        assert task.waits_until() == 120


@pytest.mark.parametrize(
    ("interval", "problem"),
    [
        (None, r"Ticker \(.*\) has no interval: .* --Ticker-interval"),
        (-1, "Ticker.INTERVAL: expected a duration"),
    ],
)
def test_task_without_interval_fails_the_start(
    ticking: Make, interval: float | None, problem: str
) -> None:
    with pytest.raises(OptionError, match=problem):
        make_service(service_of(ticking(INTERVAL=interval))).startBG()


@pytest.mark.parametrize("interval", [0, 1e-12, 1e-300])
def test_zero_interval_runs_without_a_pause(ticking: Make, interval: float) -> None:
    with running_task(ticking(INTERVAL=interval)) as task:
        for _ in range(100):  # the clock stands still
            assert task.ran.get(timeout=WAIT) == 0
        assert task.n_slow_iterations() == task.n_missed() == 0


def test_zero_interval_with_jitter_pauses_for_the_jitter(ticking: Make) -> None:
    with running_task(ticking(INTERVAL=0, JITTER=5)) as task:
        assert task.ran.get(timeout=WAIT) == 0
        for _ in range(20):
            before = task.clock.monotonic() - START
            assert before <= task.next_run() <= before + 5


def test_each_of_several_workers_has_its_own_schedule(ticking: Make) -> None:
    with running_task(ticking(workers=5)) as task:
        for number in range(3):
            assert [task.ran.get(timeout=WAIT) for _ in range(5)] == [number * 10] * 5
            assert task.clock.wait_for_waiters(5) == [1000 + (number + 1) * 10] * 5
            task.clock.turn(10)


def test_retry_of_one_worker_leaves_others_on_time(ticking: Make) -> None:
    with running_task(ticking(workers=2)) as task:
        assert [task.ran.get(timeout=WAIT) for _ in range(2)] == [0, 0]
        task.clock.wait_for_waiters(2)
        task.work.put(partial(put_off, after=3))
        task.clock.turn(10)
        assert [task.ran.get(timeout=WAIT) for _ in range(2)] == [10, 10]
        assert set(task.clock.wait_for_waiters(2)) == {1013, 1020}
        assert task.has_pending()


def test_changed_interval_counts_from_the_last_run(ticking: Make) -> None:
    with running_task(ticking()) as task:
        assert [task.ran.get(timeout=WAIT), task.next_run(), task.next_run()] == [0, 10, 20]
        task.waits_until()
        task.interval = 3
        task.clock.wait_for_waiter_until(START + 23)
        assert [task.next_run(), task.next_run()] == [23, 26]
        task.waits_until()
        task.service.setOption("Ticker_interval", "1h")
        task.clock.wait_for_waiter_until(START + 26 + 3600)
        assert task.next_run() == 26 + 3600


def test_execute_async_runs_now_and_schedule_stays(ticking: Make) -> None:
    with ran_once(ticking()) as task:
        task.clock.turn(4)
        task.work.put(lambda: "extra")
        assert task.execute_async().result(WAIT) == "extra"
        assert task.ran.get(timeout=WAIT) == 4
        assert task.next_run() == 10


def test_try_later_with_time_comes_then(ticking: Make) -> None:
    with ran_once(ticking()) as task:
        task.work.put(partial(put_off, after=25))
        assert task.next_run() == 10
        assert task.waits_until() == 35
        assert task.has_pending()
        assert task.next_run() == 35
        assert list(task.attempts) == [1, 1, 2]
        assert task.waits_until() == 40
        assert (task.n_try_later(), task.n_iterations(), task.n_missed()) == (1, 3, 1)


def test_plain_try_later_comes_with_the_next_run(ticking: Make) -> None:
    with ran_once(ticking()) as task:
        task.work.put(put_off)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
        assert task.waits_until() == 10
        task.work.put(lambda: "then")
        assert task.next_run() == 10
        assert future.result(WAIT) == "then"


def test_restarted_task_begins_a_new_schedule(ticking: Make) -> None:
    with ran_once(ticking(RESTART="on-failure")) as task:
        task.clock.turn(4)
        task.work.put(lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            task.execute_async().result(WAIT)
        task.ran.get(timeout=WAIT)
        assert task.ran.get(timeout=WAIT) == 4
        assert task.waits_until() == 14


def test_task_ends_its_own_schedule(ticking: Make) -> None:
    with ran_once(ticking()) as task:
        task.work.put(task.end_schedule)
        task.next_run()
        wait_state(task, TaskState.DONE)
        assert task.state is TaskState.DONE
        assert task.execute_async().cancelled()


def test_runs_on_the_real_clock(ticking: Make) -> None:
    with running_task(ticking(INTERVAL=0.001, clock=Clock())) as task:
        for _ in range(20):
            task.ran.get(timeout=WAIT)
