"""AsyncPeriodicTask: the promises of PeriodicTask, kept by a coroutine."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial

import pytest
from sparts.errors import LoopStoppedError, SpartsError
from sparts.kernel.runner import ServiceThread
from sparts.states import TaskState
from sparts.tasks.async_periodic import AsyncPeriodicTask, ExecuteContext, TryLater
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.testing.clock import TurnableClock
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import RestartPolicy

from tests.core import periodic_tasks
from tests.core.periodic_tasks import START, AsyncTicking

SOON = RestartPolicy("on-failure", first_wait=0.001)
ticking = partial(periodic_tasks.ticking, AsyncTicking)


async def forever() -> None:
    """Wait until cancelled."""
    await asyncio.Event().wait()


def raiser(error: BaseException) -> Callable[[], None]:
    """Make a function that raises."""

    def fail() -> None:
        raise error

    return fail


def test_it_runs_by_clock_of_system_too() -> None:
    class Quick(AsyncPeriodicTask):
        INTERVAL = 0.001

        async def execute(self, context: ExecuteContext | None = None) -> None:
            if self.n_iterations() == 10:
                self.end_schedule()

    with running(service_of(Quick)) as service:
        task = service.requireTask(Quick)
        task.loop_task.call(lambda: task._coroutines[0]).result(WAIT)
        assert task.n_iterations() == 11
        assert task.state is TaskState.DONE


def test_execute_async_gives_what_run_returns_or_raises() -> None:
    with running(service_of(ticking(RUN_AT_START=False, RESTART=SOON))) as service:
        task = service.requireTask("Ticker")
        task.work.put(lambda: 7)
        assert task.execute_async().result(WAIT) == 7
        task.work.put(raiser(ValueError("no way")))
        with pytest.raises(ValueError, match="no way"):
            task.execute_async().result(WAIT)
        assert task.execute_async().result(WAIT) is None
        assert task.supervisor.n_restarts() == 1


def test_trigger_runs_it_at_once_and_coalesces() -> None:
    with running(service_of(ticking(RUN_AT_START=False))) as service:
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

    class Later(AsyncTicking):
        RUN_AT_START = False
        clock = TurnableClock(START)

        async def execute(self, context: ExecuteContext | None = None) -> int:
            assert context is not None
            seen.put(context.attempt)
            if context.attempt < 3:
                raise TryLater("not yet", after=2)
            return context.attempt

    with running(service_of(Later)) as service:
        task = service.requireTask(Later)
        future = task.execute_async()
        for attempt in (1, 2):
            assert seen.get(timeout=WAIT) == attempt
            assert task.waits_until() == 2 * attempt
            task.clock.turn(2)
        assert future.result(WAIT) == 3
        assert task.n_try_later() == 2


def test_run_under_way_at_the_stop_ends() -> None:
    with running(service_of(ticking())) as service:
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


def test_endless_run_is_cancelled_in_time() -> None:
    with running(
        service_of(ticking()), "--stop-timeout", "3s"
    ) as service:  # cancelled 0.3 s before
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        task.work.put(forever)
        future = task.execute_async()
        task.ran.get(timeout=WAIT)
    with pytest.raises(CancelledError):
        future.result(WAIT)
    assert task.state is TaskState.STOPPED


def test_stop_waits_for_no_restart_of_a_run() -> None:
    policy = SOON._replace(first_wait=10000.0, max_wait=10000.0)
    with running(service_of(ticking(RESTART=policy)), "--stop-timeout", "1h") as service:
        task = service.requireTask("Ticker")
        task.ran.get(timeout=WAIT)
        task.work.put(raiser(ValueError("no way")))
        assert isinstance(task.execute_async().exception(WAIT), ValueError)
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        assert task.state is TaskState.DEGRADED


def test_futures_end_when_the_task_has_failed() -> None:
    cls = ticking(RUN_AT_START=False)
    thread = ServiceThread(make_service(service_of(cls)))
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


def test_failed_loop_cancels_runs_and_schedule_goes_on() -> None:
    class Fragile(AsyncioLoopTask):
        RESTART = SOON

    with running(service_of(ticking(LOOP=Fragile))) as service:
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
        assert not task.supervisor.n_failures()
