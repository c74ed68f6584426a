"""PriorityQueueTask and UniqueQueueTask: which item comes next, and which is not added."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import queue
import threading
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
from sparts.tasks.queue import ExecuteContext, PriorityQueueTask, TryLater, UniqueQueueTask
from sparts.testing.running import running_task

from tests.core.queue_tasks import SOON, Deferred, Gated, running_busy, variant
from tests.threads import run_in_threads


class Ranked(Gated, PriorityQueueTask):
    """Takes the smallest item first."""


class Unique(Gated, UniqueQueueTask):
    """Takes no item twice."""


def order(items: list[Any]) -> list[Any]:
    """Give the order in which items are worked on that wait at the same time."""
    with running_task(Ranked) as task:
        task.queue.put((-1,))
        task.begun()
        for item in items:
            task.queue.put(item)
        task.let(*[None] * (len(items) + 1))
        return [task.begun() for _ in items]


def test_smallest_item_comes_first() -> None:
    items = [(number,) for number in range(200)]
    shuffled = sorted(items, key=lambda item: item[0] * 67 % 200)
    assert order(shuffled) == items


def test_equal_items_come_in_order_of_arrival() -> None:
    assert order([1.0, 1, True]) == [1.0, 1, True]
    assert [type(item) for item in order([True, 1.0, 1])] == [bool, float, int]


def test_priorities_with_incomparable_items_work() -> None:
    low, first, second = (2, {"job": "c"}), (1, {"job": "b"}), (1, {"job": "a"})
    assert order([low, first, second]) == [first, second, low]
    many = [(1, {"job": number}) for number in range(50)]
    assert order(many) == many


def test_items_of_all_kinds_are_worked_on() -> None:
    class Hostile:
        def __lt__(self, other: object) -> bool:
            raise RuntimeError("never compare me")

    items = [5, "text", None, Hostile(), (1, 2), 3, object()]
    done = order(items)
    assert sorted(map(id, done)) == sorted(map(id, items))


def test_retried_item_takes_its_place_by_priority() -> None:
    with running_task(variant(Ranked, RETRY_AFTER=0.0)) as task:
        task.queue.put(1)
        assert task.begun() == 1
        task.queue.put(2)
        task.gate.put(TryLater())
        task.works_on(1)
        task.works_on(2)


def test_item_equal_to_waiting_one_is_refused() -> None:
    with running_busy(Unique) as task:
        waiting = task.submit((1, "a"))
        task.queue.put((1, "a"))
        assert task.submit((1, "a")) is waiting
        assert task.queue.qsize() == 1
        task.let(None, "once")
        assert waiting.result(SOON) == "once"
        task.queue.join()
        assert task.n_completed() == 2


def test_item_equal_to_one_in_work_is_refused() -> None:
    with running_task(Unique) as task:
        task.queue.put("item")
        assert task.begun() == "item"
        first = task.submit("item")
        assert first.running()
        assert task.submit("item") is first
        assert task.queue.empty()
        task.gate.put("once")
        assert first.result(SOON) == "once"


def test_item_equal_to_a_retry_is_refused() -> None:
    with running_task(Unique) as task:
        task.queue.put("item")
        task.begun()
        task.gate.put(TryLater(after=0.001))
        future = task.submit("item")
        task.gate.put("twice")
        assert future.result(SOON) == "twice"
        assert task.n_completed() == 1


def test_item_is_new_after_its_future() -> None:
    with running_task(Unique) as task:
        for outcome in (1, ValueError("broken"), 3):
            future = task.submit("item")
            task.gate.put(outcome)
            error = future.exception(SOON)
            assert error is outcome if isinstance(outcome, ValueError) else error is None
        assert task.n_completed() == 2


@pytest.mark.parametrize("outcome", ["done", ValueError("broken")])
def test_item_is_new_for_callbacks_of_its_future(outcome: Any) -> None:
    again: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    with running_task(Unique) as task:
        first = task.submit("item")
        first.add_done_callback(lambda _: again.put(task.submit("item")))
        task.gate.put(outcome)
        second = again.get(timeout=SOON)
        assert second is not first
        task.gate.put("again")
        assert second.result(SOON) == "again"


def test_cancelled_item_can_be_submitted_again() -> None:
    with running_busy(Unique) as task:
        first = task.submit("item")
        assert first.cancel()
        second = task.submit("item")
        assert second is not first
        assert task.queue.qsize() == 1
        third = task.submit("other")
        assert third.cancel()
        task.let(None, "done")
        assert second.result(SOON) == "done"
        task.queue.join()
        fourth = task.submit("other")
        task.gate.put("other done")
        assert fourth.result(SOON) == "other done"


def test_cancelled_item_runs_when_it_is_put() -> None:
    with running_busy(Unique) as task:
        assert task.submit("item").cancel()
        task.queue.put("item")
        task.gate.put(None)
        task.works_on("item")


def test_put_item_runs_despite_a_cancelled_submission() -> None:
    with running_busy(Unique) as task:
        for first, second in ((task.submit, task.queue.put), (task.queue.put, task.submit)):
            futures = [f for f in (first("item"), second("item")) if f is not None]
            assert [future.cancel() for future in futures] == [True]
        assert task.queue.qsize() == 1
        task.gate.put(None)
        task.works_on("item")
        task.queue.join()
        assert task.n_completed() == 2


def test_item_runs_while_one_submitter_waits() -> None:
    with running_busy(Unique) as task:
        first, second = task.submit("item"), task.submit("item")
        assert first is second
        assert not first.cancel()  # the other one still waits
        task.gate.put(None)
        task.works_on("item", "done")
        assert second.result(SOON) == "done"


def test_item_of_cancelled_submitters_does_not_run() -> None:
    with running_busy(Unique) as task:
        future: Future[Any] = Future()
        task.queue.put(ExecuteContext(item="item", future=future))
        shared = task.submit("item")
        assert task.submit("item") is shared
        assert [shared.cancel(), shared.cancel(), future.cancel()] == [False, True, True]
        task.let(None, "next")
        assert task.submit("next").result(SOON) == "next"
        assert task.n_completed() == 2


def test_timeout_does_not_cancel_what_was_put() -> None:
    async def give_up(task: Unique) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task.submit("item"), 0.01)

    with running_busy(Unique) as task:
        task.queue.put("item")
        asyncio.run(give_up(task))
        with pytest.raises(TimeoutError):
            task.map(["item"], timeout=0.01)
        task.gate.put(None)
        task.works_on("item")


def test_all_waiters_get_the_outcome() -> None:
    with running_task(Unique) as task:
        for outcome in ("done", ValueError("broken")):
            future: Future[Any] = Future()
            first, second = Deferred(), Deferred()
            task.queue.put(ExecuteContext(item="item", deferred=first))
            assert task.begun() == "item"
            task.queue.put(ExecuteContext(item="item", deferred=second))
            task.queue.put(ExecuteContext(item="item", future=future))
            task.gate.put(outcome)
            assert first.outcome() is outcome
            assert second.outcome() is outcome
            assert (future.exception(SOON) or future.result(SOON)) is outcome


class Odd(BaseException):
    """What is no `Exception`, raised in a callback."""


@pytest.mark.parametrize("outcome", ["done", ValueError("broken")], ids=["result", "error"])
def test_raising_callback_leaves_other_waiters_their_outcome(outcome: Any) -> None:
    def fail(_: object) -> None:
        raise Odd

    with running_busy(Unique) as task:
        futures: list[Future[str]] = [Future() for _ in range(3)]
        for future in futures:
            future.add_done_callback(fail)
            task.queue.put(ExecuteContext(item="x", future=future))
        task.let(None, outcome)
        assert [future.exception(SOON) or future.result() for future in futures] == [outcome] * 3


def test_equal_item_needs_no_room() -> None:
    with running_busy(variant(Unique, MAX_ITEMS=1)) as task:
        task.queue.put("item")
        task.queue.put("item", block=False)
        task.let(*[None] * 2)


def test_room_goes_to_the_next_waiter() -> None:
    with running_busy(variant(Unique, MAX_ITEMS=1)) as task:
        task.queue.put("waiting")
        threads = [
            threading.Thread(target=task.queue.put, args=(item,))
            for item in ("equal", "equal", "other")
        ]
        for number, thread in enumerate(threads, 1):
            thread.start()
            while len(task.queue._blocked) < number:
                os.sched_yield()
        for item in ("waiting", "equal"):
            task.gate.put(None)
            assert task.begun() == item
        for thread in threads:
            thread.join(SOON)
            assert not thread.is_alive()
        task.gate.put(None)
        task.works_on("other")


def test_item_without_a_hash_is_a_clear_error() -> None:
    text = "Unique knows equal items by their hash, and dict"
    with running_task(Unique) as task, pytest.raises(TypeError, match=text):
        task.queue.put({"a": 1})


def test_items_of_class_are_equal_as_class_says() -> None:
    @dataclasses.dataclass(frozen=True)
    class Job:
        name: str
        urgency: int = dataclasses.field(compare=False)

    with running_task(Unique) as task:
        assert task.submit(Job("a", 1)) is task.submit(Job("a", 2))
        task.gate.put(None)


def test_many_threads_add_item_once_at_time() -> None:
    overlaps: list[int] = []
    working: set[int] = set()

    class Exclusive(UniqueQueueTask):
        WORKERS = 4

        def execute(self, item: int, context: ExecuteContext) -> int:
            if item in working:
                overlaps.append(item)
            working.add(item)
            working.discard(item)
            return item

    with running_task(Exclusive) as task:

        def feed() -> None:
            for number in range(2000):
                assert task.submit(number % 3).result(SOON) == number % 3

        run_in_threads(*[feed] * 4)
    assert overlaps == []


def test_dropped_item_of_several_waiters_ends_for_all() -> None:
    with running_busy(variant(Unique, DRAIN=False)) as task:
        future, deferred = task.submit("item"), Deferred()
        task.queue.put(ExecuteContext(item="item", deferred=deferred))
        task.ask_to_stop()
        task.gate.put(None)
        assert isinstance(deferred.outcome(), CancelledError)
    assert future.cancelled()
    assert task.dropped == ["item"]
