"""QueueTask: what becomes of an item while the task runs."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.tasks.submission import Submission
from sparts.testing.running import make_service, running, running_task, service_of

from tests.core.failing import failing
from tests.core.queue_tasks import SOON, Deferred, Echo, Gated, of_echo, of_gated
from tests.threads import in_threads, run_in_threads


@of_gated
def test_items_are_worked_on_in_order_of_arrival(gated: Any) -> None:
    with running_task(gated) as task:
        for item in "abc":
            task.queue.put(item)
        for item in "abc":
            task.works_on(item)
        task.queue.join()
        assert task.n_completed() == 3


def test_items_put_before_the_start_are_worked_on() -> None:
    futures: list[Future[Any]] = []

    def init(self: Any) -> None:
        futures.append(self.tasks.Echo.submit(1))

    with running(service_of(Echo, initService=init)):
        assert futures[0].result(SOON) == 1


@of_gated
def test_execute_is_told_the_item_and_its_context(gated: Any) -> None:
    with running_task(gated) as task:
        future = task.submit("item")
        context = task.began.get(timeout=SOON)
        assert (context.item, context.attempt, context.deferred) == ("item", 1, None)
        assert context.future is future
        assert context.running.is_set()
        assert future.running()
        task.gate.put("done")
        assert future.result(SOON) == "done"


def test_items_in_work_are_as_many_as_workers() -> None:
    together = threading.Barrier(4)

    class Together(QueueTask):
        WORKERS = 4

        def execute(self, item: Any, context: ExecuteContext) -> int:
            return together.wait(SOON)

    with running_task(Together) as task:
        assert len(task.threads) == 4
        assert sorted(task.map(range(4), SOON)) == [0, 1, 2, 3]


def test_workers_and_max_items_are_options() -> None:
    argv = ["--Echo-workers", "3", "--Echo-max-items", "7", "--Echo-max-attempts", "2"]
    with running_task(Echo, *argv) as task:
        assert (len(task.threads), task.queue.maxsize, task.max_attempts) == (3, 7, 2)


def test_task_without_workers_only_takes_items(caplog: pytest.LogCaptureFixture) -> None:
    class Submitting(Gated):
        WORKERS = 0

    with running_task(Submitting) as task:
        future = task.submit("submitted")
        task.queue.put("put")
        assert (task.threads, task.queue_depth()) == ([], 2)
    assert task.dropped == ["submitted", "put"]
    assert future.cancelled()
    assert "Submitting has no workers: its items wait here" in caplog.text


@of_echo
def test_item_counts_as_completed_before_its_future_ends(echo: Any) -> None:
    with running_task(echo) as task:
        for number in range(1, 500):
            task.submit(number).result(SOON)
            assert task.n_completed() == number


@of_echo
def test_counters_are_exact_with_many_workers(echo: Any) -> None:
    with running_task(echo, f"--{echo.__name__}-workers", "8") as task:
        run_in_threads(*[lambda: [task.submit(n) for n in range(2000)]] * 4)
        task.queue.join()
        assert task.n_completed() == 8000
        assert task.service.getCounter(f"{echo.__name__}.n_completed") == 8000
        assert task.execute_duration_ms.totals()[0] == 8000
        assert task.queue_depth() == 0


@of_gated
def test_queue_depth_counts_what_waits(gated: Any) -> None:
    with running_task(gated) as task:
        for item in range(4):
            task.queue.put(item)
        assert task.begun() == 0
        assert task.queue_depth() == task.queue.qsize() == 3
        assert not task.queue.empty()
        task.let(*[None] * 4)
        task.queue.join()
        assert task.queue.empty()


@of_echo
def test_exception_goes_to_the_future_and_counts(
    echo: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with running_task(echo) as task:
        with pytest.raises(ValueError, match="broken"):
            task.submit(ValueError("broken")).result(SOON)
        assert task.n_unhandled() == 1
        assert task.n_completed() == 0
        assert task.submit("next").result(SOON) == "next"
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "ValueError: broken" in record.getMessage()
    assert record.exc_info


@of_echo
def test_outcome_goes_to_the_context_that_was_put(echo: Any) -> None:
    with running_task(echo) as task:
        good, bad = Deferred(), Deferred()
        error = ValueError("broken")
        future: Future[int] = Future()
        task.queue.put(ExecuteContext(item=5, future=future))
        assert future.result(SOON) == 5
        task.queue.put(ExecuteContext(item=5, deferred=good))
        task.queue.put(ExecuteContext(item=error, deferred=bad))
        assert good.outcome() == 5
        assert bad.outcome() is error


@of_echo
def test_raising_deferred_is_logged(echo: Any, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Deferred):
        def callback(self, result: Any) -> None:
            raise RuntimeError("callback broken")

    with running_task(echo) as task:
        task.queue.put(ExecuteContext(item=5, deferred=Broken()))
        assert task.submit(6).result(SOON) == 6
    assert "could not be delivered" in caplog.text


@of_gated
def test_exception_nobody_waits_for_ends_service_by_default(gated: Any) -> None:
    with failing(gated, match="Gated failed: ValueError: broken") as task:
        task.queue.put("item")
        task.begun()
        task.gate.put(ValueError("broken"))
    assert [item for item, _ in task.dead] == ["item"]


@of_echo
def test_system_exit_ends_the_future_and_the_service(echo: Any) -> None:
    service = make_service(service_of(echo))
    thread = service.startBG()
    future = service.requireTask(echo).submit(SystemExit(3))
    assert isinstance(future.exception(SOON), SystemExit)
    thread.join()
    assert thread.status == 3


@of_gated
def test_cancelled_item_is_not_worked_on(gated: Any) -> None:
    with running_task(gated) as task:
        first, second, third = (task.submit(item) for item in (1, 2, 3))
        assert task.begun() == 1
        assert second.cancel()
        task.gate.put(None)
        task.works_on(3)
        task.queue.join()
        assert (first.done(), third.done(), task.n_completed()) == (True, True, 2)


def test_coroutine_learns_of_impossible_exceptions() -> None:
    async def ask(task: Any) -> None:
        with pytest.raises(RuntimeError, match="StopIteration was raised: 5"):
            await task.submit(StopIteration(5))

    with running(service_of(Echo)) as service:
        asyncio.run(asyncio.wait_for(ask(service.requireTask(Echo)), SOON))


@of_echo
def test_foreign_end_of_a_future_ends_no_worker(echo: Any) -> None:
    future: Future[int] = Future()
    future.set_result(1)
    with running_task(echo) as task:
        task.queue.put(ExecuteContext(item=5, future=future))
        assert task.submit(6).result(SOON) == 6
        assert task.n_completed() == 2
    assert future.result() == 1


def test_cancelled_coroutine_cancels_its_item() -> None:
    async def main() -> Submission:
        future: Submission = Submission()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        return future

    assert asyncio.run(main()).cancelled()


# -- a full queue ----------------------------------------------------------------------------------


class Full(Gated):
    """Has room for one item beside the one that is worked on."""

    MAX_ITEMS = 1

    def fill(self) -> None:
        """Fill it."""
        self.queue.put("running")
        assert self.begun() == "running"
        self.queue.put("waiting")


def test_full_queue_blocks_put_until_there_is_room() -> None:
    with running_task(Full) as task:
        task.fill()
        assert task.queue.full()
        thread = threading.Thread(target=task.queue.put, args=("late",))
        thread.start()
        task.gate.put(None)
        assert task.begun() == "waiting"
        thread.join(SOON)
        assert not thread.is_alive()
        assert task.queue.qsize() == 1
        task.gate.put(None)
        task.works_on("late")


def test_full_queue_raises_in_time() -> None:
    with running_task(Full) as task:
        task.fill()
        attempts: list[Callable[[], object]] = [
            lambda: task.queue.put("late", timeout=0.01),
            lambda: task.queue.put("late", block=False),
            lambda: task.queue.put_nowait("late"),
            lambda: task.submit("late", timeout=0),
        ]
        for attempt in attempts:
            with pytest.raises(queue.Full, match=r"Full has no room \(items waiting: 1\)"):
                attempt()
        task.let(None, None)


def test_bounded_queue_never_holds_more_than_it_may() -> None:
    depths: list[int] = []

    class Bounded(QueueTask):
        MAX_ITEMS = 5
        WORKERS = 2

        def execute(self, item: Any, context: ExecuteContext) -> None:
            depths.append(self.queue.qsize())

    with running_task(Bounded) as task:
        run_in_threads(*[lambda: [task.submit(n) for n in range(500)]] * 4)
        task.queue.join()
        assert task.n_completed() == 2000
    assert max(depths) <= 5


def test_worker_waiting_for_itself_gets_an_error() -> None:
    class Crawler(QueueTask):
        MAX_ITEMS = 1

        def execute(self, item: int, context: ExecuteContext) -> None:
            for number in range(item):
                self.queue.put(number)

    with running(service_of(Crawler)) as service:
        error = service.requireTask(Crawler).submit(2).exception(SOON)
        assert isinstance(error, queue.Full)
        assert "all of its workers wait" in str(error)


def test_stop_releases_who_waits_for_room() -> None:
    def put() -> None:
        with pytest.raises(TaskStoppedError) as refused:
            task.queue.put("late")
        assert str(refused.value) == (
            "Full takes no more items: it is stopping. What is put to it now would never be "
            "worked on."
        )

    with running_task(Full) as task:
        task.fill()
        with in_threads(put, put, put):
            task.service.shutdown()
        task.let(None, None)
