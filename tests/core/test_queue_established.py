"""What queue and periodic tasks of sparts 0.7 did, and services rely on."""

from __future__ import annotations

import functools
import queue
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sparts.collections import Duplicate, UniqueQueue
from sparts.context import ExecuteContext
from sparts.errors import TaskStoppedError
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.event import EventTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import QueueTask, TryLater
from sparts.testing.clock import TurnableClock
from sparts.testing.running import running, running_task, service_of

from tests.core.queue_tasks import SOON, Gated, variant


class ByHand(Gated):
    """Has no workers: the test takes its items."""

    WORKERS = 0


def test_items_are_taken_out_by_hand() -> None:
    with running(service_of(ByHand)) as service:
        backlog = service.requireTask(ByHand).queue
        backlog.put(1)
        backlog.put(2)
        assert [backlog.get(), backlog.get_nowait()] == [1, 2]
        for take in (backlog.get_nowait, lambda: backlog.get(timeout=0.01)):
            with pytest.raises(queue.Empty):
                take()
        backlog.task_done()
        backlog.task_done()
        backlog.join()
        with pytest.raises(ValueError, match="more often than get"):
            backlog.task_done()


def test_item_taken_by_hand_brings_its_context() -> None:
    with running_task(ByHand) as task:
        future = task.submit("item")
        context = task.queue.get(timeout=SOON)
        assert context.item == "item"
        assert not future.cancel()
        context.set_result("done")
        assert future.result(SOON) == "done"


def test_taking_by_hand_waits_until_the_stop() -> None:
    class Calling(QueueTask):
        def execute(self, item: Any, context: ExecuteContext) -> Any:
            return item()

    with running(service_of(ByHand, Calling)) as service:
        backlog, other = service.requireTask(ByHand).queue, service.requireTask(Calling)
        first = other.submit(functools.partial(backlog.get, timeout=SOON))
        backlog.put("late")
        assert first.result(SOON) == "late"
        ended = other.submit(backlog.get)
    assert isinstance(ended.exception(SOON), TaskStoppedError)


def test_try_later_without_time_comes_back_at_once() -> None:
    with running_task(variant(Gated, clock=TurnableClock())) as task:
        future = task.submit("item")
        for attempt in range(1, 5):
            assert task.began.get(timeout=SOON).attempt == attempt
            task.gate.put(TryLater() if attempt < 4 else "done")
        assert future.result(SOON) == "done"
        assert (task.n_trylater(), task.n_completed(), task.n_unhandled()) == (3, 1, 0)


class Noting(Gated):
    """Notes the ends of its items."""

    MAX_ATTEMPTS = 2

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.notes: list[Any] = []

    def work_success(self, context: ExecuteContext, result: Any) -> None:
        self.notes.append(("success", context.item, result))

    def work_retry(self, context: ExecuteContext) -> None:
        self.notes.append(("retry", context.item, context.attempt))

    def work_fail(self, context: ExecuteContext, exception: BaseException) -> None:
        self.notes.append(("fail", context.item, str(exception)))

    def work_done(self, context: ExecuteContext) -> None:
        self.notes.append(("done", context.item))


def test_ends_are_reported_before_futures_end() -> None:
    with running_task(Noting) as task:
        for item, outcomes, notes in (
            ("good", [1], [("success", "good", 1)]),
            ("bad", [ValueError("no")], [("fail", "bad", "no")]),
            ("late", [TryLater(), 2], [("retry", "late", 2), None, ("success", "late", 2)]),
            ("never", [TryLater("x")] * 2, [("retry", "never", 2), None, ("fail", "never", "x")]),
        ):
            task.notes.clear()
            future = task.submit(item)
            task.let(*outcomes)
            future.exception(SOON)
            wanted = [note or ("done", item) for note in notes]
            assert task.notes == [*wanted, ("done", item)]


def test_failing_end_hook_loses_no_outcome() -> None:
    class Broken(Noting):
        def work_done(self, context: ExecuteContext) -> None:
            raise RuntimeError("hook broken")

    with running_task(Broken) as task:
        task.gate.put("done")
        assert task.submit("item").result(SOON) == "done"
        task.gate.put(ValueError("no"))
        assert isinstance(task.submit("item").exception(SOON), ValueError)


@pytest.mark.parametrize(
    ("make", "order"),
    [(queue.LifoQueue, "cba"), (queue.PriorityQueue, "abc"), (queue.Queue, "bac")],
)
def test_queue_of_ones_own_gives_the_order(make: Callable[[], Any], order: str) -> None:
    class Ordered(Gated):
        def _makeQueue(self) -> Any:  # noqa: N802
            self.own = make()
            return self.own

    with running_task(Ordered) as task:
        task.queue.put("0")
        task.begun()
        for put, item in zip(
            (task.queue.put, task.submit, task.own.put), order_of(order), strict=True
        ):
            put(item)
        task.let(*[None] * 4)
        assert "".join(task.begun() for _ in range(3)) == order
        task.own.join()


def order_of(order: str) -> str:
    """Give the order to put items in, so that those queues give them in another."""
    return "bac" if order == "bac" else "bca" if order == "abc" else "abc"


def test_item_that_ones_own_queue_refuses_or_discards() -> None:
    class Unique(ByHand):
        def _makeQueue(self) -> Any:  # noqa: N802
            self.own = UniqueQueue()
            return self.own

    with running_task(Unique) as task:
        task.queue.put(1)
        with pytest.raises(Duplicate):
            task.queue.put(1)
        task.own.silent = True
        assert task.submit(1).cancelled()
        assert task.queue.qsize() == 1


def test_unique_queue_refuses_an_equal_item() -> None:
    unique = UniqueQueue()
    unique.put("a")
    with pytest.raises(Duplicate, match="'a' is in the queue already"):
        unique.put("a")
    assert unique.get() == "a"
    unique.put("a")
    unique.silent = True
    unique.put("a")
    assert unique.qsize() == 1
    unique.task_done()
    unique.get()
    unique.task_done()
    unique.join()


def test_unique_queue_sees_items_until_told() -> None:
    unique = UniqueQueue()
    unique.explicit_unsee = True
    unique.put("a")
    unique.get()
    with pytest.raises(Duplicate):
        unique.put("a")
    unique.unsee("a")
    unique.put("a")


def test_stopwatch_starts_again_in_execute(caplog: pytest.LogCaptureFixture) -> None:
    class Times(QueueTask[float, bool]):
        def execute(self, item: float, context: ExecuteContext) -> bool:
            context.wait(item)
            before = context.elapsed
            context.timer.start()
            return context.timer.elapsed < before and context.wait(0.0)

    with running_task(Times) as task:
        assert task.submit(0.01).result(SOON)
    assert "unexpected state" not in caplog.text


def test_context_starts_times_and_ends() -> None:
    future: Future[Any] = Future()
    context = ExecuteContext(item="x", future=future)
    assert context.timer.elapsed == context.elapsed == 0.0
    assert not context.running.is_set()
    assert context.start()
    assert context.running.is_set()
    assert future.running()
    context.timer.stop()
    assert context.timer.elapsed == context.elapsed == context.elapsed
    context.set_result(5)
    assert future.result() == 5
    failed: Future[Any] = Future()
    error = ValueError()
    assert ExecuteContext(future=failed).set_exception(error)
    assert failed.exception() is error
    assert not ExecuteContext().set_exception(error)
    cancelled: Future[Any] = Future()
    cancelled.cancel()
    assert not ExecuteContext(future=cancelled).start()


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


async def run(self: Any) -> str:
    return "run"


async def same(self: Any, item: Any) -> Any:
    return item


@pytest.mark.parametrize(
    ("base", "execute"),
    [
        (EventTask, lambda self: "run"),
        (EventTask, wrapped(lambda self: "run")),
        (EventTask, lambda self, *args: "run" if len(args) == 1 else "no context"),
        (PeriodicTask, lambda self: "run"),
        (AsyncPeriodicTask, run),
    ],
)
def test_execute_may_leave_out_the_context(base: Any, execute: Any) -> None:
    with running_task(variant(base, execute=execute, INTERVAL=3600)) as task:
        assert task.execute_async().result(SOON) == "run"


@pytest.mark.parametrize(
    ("base", "execute"), [(QueueTask, lambda self, item: item), (AsyncQueueTask, same)]
)
def test_execute_of_item_may_leave_out_context(base: Any, execute: Any) -> None:
    with running_task(variant(base, execute=execute)) as task:
        assert task.submit("item").result(SOON) == "item"


def test_fetch_may_look_at_its_context() -> None:
    def fetch(self: Any, context: ExecuteContext) -> str:
        return f"attempt {context.attempt}"

    with running_task(variant(PollerTask, fetch=fetch, INTERVAL=3600)) as task:
        assert task.getValue(SOON) == "attempt 1"
