"""EventTask: runs when triggered, once for all triggers that arrive meanwhile; futures end."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import Future
from typing import Any

import pytest
from sparts.states import ServiceStatus, TaskState
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.event import EventTask, ExecuteContext, TryLater
from sparts.testing.clock import TurnableClock
from sparts.testing.running import running_task
from sparts.testing.waiting import WAIT

from tests.core.failing import failing
from tests.core.queue_tasks import BOTH, LoopGate, all_cancelled, given, variant
from tests.threads import run_in_threads


class Gated(EventTask):
    """A task whose runs wait until the test lets them go on."""

    gate: Any

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.began: queue.SimpleQueue[ExecuteContext] = queue.SimpleQueue()
        self.gate = queue.SimpleQueue()

    def execute(self, context: ExecuteContext | None = None) -> Any:
        assert context is not None
        self.began.put(context)
        return given(self.gate.get())

    def begun(self) -> ExecuteContext:
        """Wait until a run has begun."""
        return self.began.get(timeout=WAIT)

    def run_once(self, outcome: Any = None) -> ExecuteContext:
        """Wait until a run has begun, and have it end so."""
        context = self.begun()
        self.gate.put(outcome)
        return context


class AsyncGated(AsyncPeriodicTask, Gated):
    """The same as a coroutine, which is also due in an hour."""

    INTERVAL = 3600.0
    RUN_AT_START = False

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.gate = LoopGate(self)

    async def execute(self, context: ExecuteContext | None = None) -> Any:
        assert context is not None
        self.began.put(context)
        return given(await self.gate.get())


of_gated = pytest.mark.parametrize("gated", [Gated, AsyncGated], ids=BOTH)


class Echo(EventTask):
    """A task that gives the number of its runs."""

    def execute(self, context: ExecuteContext | None = None) -> int:
        return int(self.n_iterations())


def with_clock(kind: type[EventTask], **attributes: Any) -> type[Any]:
    """Make a task type with a clock of its own."""
    return variant(kind, clock=TurnableClock(), **attributes)


def test_trigger_from_any_thread_runs_it_in_one() -> None:
    seen: list[int] = []

    class Careful(Gated):
        def execute(self, context: ExecuteContext | None = None) -> None:
            seen.append(threading.get_ident())
            super().execute(context)

    with running_task(Careful) as task:
        for _ in range(20):
            run_in_threads(task.trigger)
            assert task.run_once().attempt == 1
        assert set(seen) == {task.threads[0].ident}


@of_gated
def test_triggers_during_a_run_coalesce(gated: type[Gated]) -> None:
    with running_task(gated) as task:
        task.trigger()
        task.begun()
        for _ in range(1000):
            task.trigger()
        task.gate.put(None)
        task.run_once()
        after = task.execute_async()
        task.run_once()
        after.result(WAIT)
        assert task.n_iterations() == 3
        assert task.began.empty()


@of_gated
def test_trigger_before_the_start_is_not_lost(gated: type[Gated]) -> None:
    def init_task(self: Gated) -> None:
        gated.initTask(self)
        self.trigger()

    with running_task(variant(gated, initTask=init_task)) as task:
        task.run_once()


@of_gated
def test_future_belongs_to_a_later_run(gated: type[Gated]) -> None:
    with running_task(gated) as task:
        first = task.execute_async()
        task.begun()
        second, third = task.execute_async(), task.execute_async()
        assert task.has_pending()
        task.gate.put("one")
        context = task.begun()
        assert first.result(WAIT) == "one"
        assert context.future is second
        task.gate.put("two")
        assert second.result(WAIT) == third.result(WAIT) == "two"
        assert not task.has_pending()


class Odd(BaseException):
    """What is no `Exception`, raised in a callback."""


def raise_odd(future: object) -> None:
    raise Odd


@pytest.mark.parametrize("outcome", ["one", ValueError("broken")], ids=["result", "error"])
@of_gated
def test_raising_callback_of_future_is_logged(
    gated: type[Gated], outcome: object, caplog: pytest.LogCaptureFixture
) -> None:
    with running_task(variant(gated, ON_ERROR="log")) as task:
        task.trigger()
        task.begun()
        futures = [task.execute_async() for _ in range(3)]
        for future in futures:
            future.add_done_callback(raise_odd)
        task.gate.put(None)
        task.run_once(outcome)
        ended = [future.exception(WAIT) or future.result() for future in futures]
        assert ended == [outcome] * 3
        later = task.execute_async()
        task.run_once("later")
        assert later.result(WAIT) == "later"
    assert "T failed: Odd" not in caplog.text
    assert "Odd" in caplog.text


@of_gated
def test_raising_callback_of_cancelled_run_is_logged(gated: type[Gated]) -> None:
    with running_task(gated) as task:
        task.trigger()
        task.begun()
        futures = [task.execute_async() for _ in range(3)]
        for future in futures:
            future.add_done_callback(raise_odd)
        task.end_schedule()
        task.gate.put(None)
        assert all_cancelled(*futures)


@of_gated
def test_stop_iteration_reaches_a_coroutine_that_waits(gated: type[Gated]) -> None:
    async def wait_for(future: Future[Any]) -> None:
        await asyncio.wait_for(asyncio.wrap_future(future), WAIT)

    with running_task(variant(gated, ON_ERROR="log")) as task:
        future = task.execute_async()
        task.run_once(StopIteration("at its end"))
        with pytest.raises(RuntimeError, match="StopIteration"):
            asyncio.run(wait_for(future))


@of_gated
def test_awaited_run_is_pending(gated: type[Gated]) -> None:
    with running_task(gated) as task:
        for ask, pending in ((task.trigger, False), (task.execute_async, True)):
            ask()
            task.begun()
            assert task.has_pending() is pending
            task.gate.put(None)


def test_counters_are_complete_once_a_future_ends() -> None:
    with running_task(with_clock(Echo)) as task:
        assert task.clock.wait_for_waiters() == [None]  # idle, it waits for a notification alone
        assert [task.execute_async().result(WAIT) for _ in range(3)] == [0, 1, 2]
        assert task.service.getCounter("Echo.n_iterations") == 3
        assert task.execute_duration_ms.totals()[0] == 3


@of_gated
def test_run_that_everybody_cancelled_does_not_happen(gated: type[Gated]) -> None:
    with running_task(gated) as task:
        task.trigger()
        task.begun()
        unwanted = task.execute_async()
        assert unwanted.cancel()
        task.gate.put(None)
        wanted = task.execute_async()
        task.run_once()
        wanted.result(WAIT)
        assert task.n_iterations() == 2


@of_gated
def test_stop_ends_the_run_and_cancels_waiting_ones(gated: type[Gated]) -> None:
    with running_task(gated) as task:
        under_way = task.execute_async()
        task.begun()
        waiting = [task.execute_async() for _ in range(5)]
        task.service.shutdown()
        assert all_cancelled(*waiting)
        task.gate.put("done")
        assert under_way.result(WAIT) == "done"
    assert all_cancelled(task.execute_async())
    assert task.n_iterations() == 1


@of_gated
def test_crash_reaches_its_future_and_ends_the_service(gated: type[Gated]) -> None:
    with failing(gated, match="boom") as task:
        crashed = task.execute_async()
        task.begun()
        waiting = task.execute_async()
        task.gate.put(ZeroDivisionError("boom"))
        with pytest.raises(ZeroDivisionError, match="boom"):
            crashed.result(WAIT)
        assert all_cancelled(waiting)
    assert all_cancelled(task.execute_async())


@of_gated
def test_restarted_worker_serves_earlier_triggers(gated: type[Gated]) -> None:
    with running_task(variant(gated, RESTART="on-failure")) as task:
        crashed = task.execute_async()
        task.begun()
        waiting = task.execute_async()
        task.gate.put(ZeroDivisionError("boom"))
        task.gate.put("fine")
        assert isinstance(crashed.exception(WAIT), ZeroDivisionError)
        assert waiting.result(WAIT) == "fine"


def test_try_later_attempts_again_and_future_waits() -> None:
    with running_task(with_clock(Gated)) as task:
        future = task.execute_async()
        assert task.run_once(TryLater("not yet", after=30)).attempt == 1
        assert task.clock.wait_for_waiters() == [1030]
        assert task.has_pending()
        assert not future.done()
        task.clock.turn(30)
        assert task.run_once(TryLater()).attempt == 2
        assert task.clock.wait_for_waiters() == [1031]
        task.clock.turn(1)
        assert task.run_once("at last").attempt == 3
        assert future.result(WAIT) == "at last"
        assert task.n_try_later() == 2
        assert task.n_iterations() == 3


@of_gated
def test_trigger_does_not_wait_for_try_later(gated: type[Gated]) -> None:
    with running_task(with_clock(gated)) as task:
        first = task.execute_async()
        task.run_once(TryLater(after=30))
        task.clock.wait_for_waiters()
        second = task.execute_async()
        assert task.run_once("now").attempt == 2
        assert first.result(WAIT) == second.result(WAIT) == "now"


@of_gated
@pytest.mark.parametrize("when", ["waiting", "in the run"])
def test_future_that_was_put_off_ends_with_task(gated: type[Gated], when: str) -> None:
    with running_task(gated) as task:
        future = task.execute_async()
        task.begun()
        if when == "waiting":
            task.gate.put(TryLater(after=3600))
            task.service.shutdown()
        else:
            task.service.shutdown()
            task.stop_event.wait(WAIT)
            task.gate.put(TryLater(after=3600))
        assert all_cancelled(future)


def test_task_ends_its_own_schedule() -> None:
    class Once(EventTask):
        def execute(self, context: ExecuteContext | None = None) -> str:
            self.end_schedule()
            return "only"

    with running_task(Once) as task:
        assert task.execute_async().result(WAIT) == "only"
        task.threads[0].join(WAIT)
        assert task.state is TaskState.DONE
        task.trigger()
        assert all_cancelled(task.execute_async())
        assert task.service.health.status is ServiceStatus.ALIVE


def test_runs_of_several_workers_overlap() -> None:
    with running_task(with_clock(Gated, workers=2)) as task:
        futures = [task.execute_async()]
        task.begun()
        futures.append(task.execute_async())
        task.run_once(TryLater(after=3600))
        task.clock.wait_for_waiter_until(4600)
        task.gate.put(TryLater(after=3600))
        task.clock.wait_for_waiters(2)
        task.service.shutdown()
        assert all_cancelled(*futures)


def test_task_without_execute_says_what_to_write() -> None:
    with failing(EventTask, match="write its execute") as task:
        error = task.execute_async().exception(WAIT)
        assert isinstance(error, NotImplementedError)
