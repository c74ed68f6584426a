"""AsyncPeriodicTask: the promises of PeriodicTask, kept by a coroutine."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, OptionError, SpartsError
from sparts.kernel.runner import ServiceThread
from sparts.states import TaskState
from sparts.tasks.async_periodic import AsyncPeriodicTask, ExecuteContext, TryLater
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.testing.clock import TurnableClock
from sparts.testing.loops import WAIT
from sparts.vtask import RestartPolicy

from tests.core.running import make_service, running

START = 1000.0
"""Where the tests' clock stands when the service starts."""
SOON = RestartPolicy("on-failure", first_wait=0.001)


class Ticking(AsyncPeriodicTask):
    """A task that notes when it ran, and does in each run what the test has prepared."""

    INTERVAL: Any = 10
    clock: TurnableClock

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.ran: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.work: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    async def execute(self, context: ExecuteContext | None = None) -> Any:
        work = self.work.get() if not self.work.empty() else lambda: None
        self.ran.put(self.clock.monotonic() - START)
        result = work()
        return await result if asyncio.iscoroutine(result) else result

    def next_run(self) -> float:
        """Turn the clock to when the task is due, and give when it ran since the start."""
        [until] = self.clock.wait_for_waiters()
        assert until is not None
        self.clock.turn(until - self.clock.monotonic())
        return self.ran.get(timeout=WAIT)

    def waits_until(self) -> float:
        """When the waiting task wakes, in seconds since the start."""
        [until] = self.clock.wait_for_waiters()
        assert until is not None
        return until - START


def ticking(**attributes: Any) -> type[Ticking]:
    """Make a task type with a clock of its own."""
    return type("Ticker", (Ticking,), {"clock": TurnableClock(START), **attributes})


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


def raiser(error: BaseException) -> Callable[[], None]:
    """Make a function that raises."""

    def fail() -> None:
        raise error

    return fail


def test_runs_are_due_at_start_plus_n_intervals_whatever_they_take() -> None:
    with running(ticking()) as service:
        task = service.requireTask("Ticker")
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


def test_it_runs_by_clock_of_system_too() -> None:
    class Quick(AsyncPeriodicTask):
        INTERVAL = 0.001

        async def execute(self, context: ExecuteContext | None = None) -> None:
            if self.n_iterations() == 10:
                self.end_schedule()

    with running(Quick) as service:
        task = service.requireTask(Quick)
        task.loop_task.call(lambda: task._coroutines[0]).result(WAIT)
        assert task.n_iterations() == 11
        assert task.state is TaskState.DONE


def test_overrun_is_made_up_for_by_one_run_and_counted() -> None:
    with running(ticking()) as service:
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        task.work.put(lambda: task.clock.turn(35))
        assert task.next_run() == 10
        assert task.ran.get(timeout=WAIT) == 45
        assert task.waits_until() == 50
        assert task.n_missed() == 2
        assert task.n_slow_iterations() == 1


def test_first_run_is_one_interval_later_without_run_at_start() -> None:
    with running(ticking(), argv=["--no-Ticker-run-at-start"]) as service:
        assert service.requireTask("Ticker").next_run() == 10


def test_a_changed_interval_counts_at_once() -> None:
    with running(ticking()) as service:
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        assert task.waits_until() == 10
        task.setTaskOption("interval", 4)
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        assert task.waits_until() == 4


def test_a_task_without_an_interval_cannot_start() -> None:
    with pytest.raises(OptionError, match="--Ticker-interval"):
        make_service(ticking(INTERVAL=None)).startBG()


def test_execute_async_gives_what_run_returns_or_raises() -> None:
    with running(ticking(RUN_AT_START=False, RESTART=SOON)) as service:
        task = service.requireTask("Ticker")
        task.work.put(lambda: 7)
        assert task.execute_async().result(WAIT) == 7
        task.work.put(raiser(ValueError("no way")))
        with pytest.raises(ValueError, match="no way"):
            task.execute_async().result(WAIT)
        assert task.execute_async().result(WAIT) is None
        assert task.n_restarts() == 1


def test_trigger_runs_it_at_once_and_coalesces() -> None:
    with running(ticking(RUN_AT_START=False)) as service:
        task = service.requireTask("Ticker")
        go_on = task.loop_task.call(asyncio.Event).result(WAIT)
        task.work.put(go_on.wait)
        task.trigger()
        task.ran.get(timeout=WAIT)
        for _ in range(100):
            task.trigger()
        assert task.has_pending()
        task.loop_task.call(go_on.set)
        task.ran.get(timeout=WAIT)
        task.execute_async().result(WAIT)
        assert task.n_iterations() == 3


def test_try_later_waits_and_counts_the_attempts() -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Later(Ticking):
        RUN_AT_START = False
        clock = TurnableClock(START)

        async def execute(self, context: ExecuteContext | None = None) -> int:
            assert context is not None
            seen.put(context.attempt)
            if context.attempt < 3:
                raise TryLater("not yet", after=2)
            return context.attempt

    with running(Later) as service:
        task = service.requireTask(Later)
        future = task.execute_async()
        for attempt in (1, 2):
            assert seen.get(timeout=WAIT) == attempt
            assert task.waits_until() == 2 * attempt
            task.clock.turn(2)
        assert future.result(WAIT) == 3
        assert task.n_try_later() == 2


def test_a_run_that_is_under_way_at_the_stop_goes_on_to_its_end() -> None:
    with running(ticking()) as service:
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        go_on = task.loop_task.call(asyncio.Event).result(WAIT)

        async def work() -> str:
            await go_on.wait()
            return "done"

        task.work.put(work)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
        waiting = task.execute_async()
        service.shutdown()
        with pytest.raises(CancelledError):
            waiting.result(WAIT)
        task.loop_task.call(go_on.set)
        assert future.result(WAIT) == "done"


def test_a_run_without_end_is_cancelled_before_the_time_for_the_stop_is_over() -> None:
    with running(ticking(), argv=["--stop-timeout", "3s"]) as service:  # cancelled 0.3 s before
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        task.work.put(forever)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
    with pytest.raises(CancelledError):
        future.result(WAIT)
    assert task.state is TaskState.STOPPED


def test_a_stop_does_not_wait_for_the_restart_of_a_failed_run() -> None:
    policy = SOON._replace(first_wait=10000.0, max_wait=10000.0)
    with running(ticking(RESTART=policy), argv=["--stop-timeout", "1h"]) as service:
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        task.work.put(raiser(ValueError("no way")))
        assert isinstance(task.execute_async().exception(WAIT), ValueError)
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        assert task.state is TaskState.DEGRADED


def test_futures_end_when_the_task_has_failed() -> None:
    cls = ticking(RUN_AT_START=False)
    thread = ServiceThread(make_service(cls))
    thread.start()
    thread.wait_started()
    task = thread.service.requireTask(cls)
    task.work.put(raiser(ValueError("no way")))
    futures = [task.execute_async() for _ in range(3)]
    with suppress(SpartsError):
        thread.join(WAIT)
    assert not thread.is_alive()
    assert thread.status == 1
    for future in [*futures, task.execute_async()]:
        with pytest.raises((ValueError, CancelledError)):
            future.result(WAIT)


def test_a_run_that_a_failure_of_its_loop_interrupts_is_cancelled_and_the_schedule_goes_on() -> (
    None
):
    class Fragile(AsyncioLoopTask):
        RESTART = SOON

    with running(ticking(LOOP=Fragile)) as service:
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        task.work.put(forever)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
        pending = task.loop_task.call(forever)
        task.loop_task.call(task.loop_task.loop.stop)
        assert isinstance(pending.exception(WAIT), LoopStoppedError)
        with pytest.raises(CancelledError):
            future.result(WAIT)
        task.ran.get(timeout=WAIT)
        assert task.next_run() == 10
        assert not task.n_failures()
