"""QueueTask.map: results in order, lazily, within a time, with progress."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.testing.running import running, running_task, service_of

from tests.core.queue_tasks import SOON, Echo, Gated


def test_results_come_in_the_order_of_the_items() -> None:
    turn = [threading.Event() for _ in range(4)]

    class Backwards(QueueTask):
        WORKERS = 4

        def execute(self, item: int, context: ExecuteContext) -> int:
            if item < 3:
                assert turn[item + 1].wait(SOON)
            turn[item].set()
            return item * 10

    with running(service_of(Backwards)) as service:
        assert service.requireTask(Backwards).map(iter(range(4)), SOON) == [0, 10, 20, 30]


@pytest.mark.parametrize(
    "items", [[], [1, 2], (1, 2), {1: "a", 2: "b"}, iter([1, 2]), (n for n in (1, 2)), "ab"]
)
def test_any_iterable_will_do(items: Any) -> None:
    items, copy = itertools.tee(items) if isinstance(items, Iterator) else (items, items)
    with running(service_of(Echo)) as service:
        assert list(service.requireTask(Echo).imap(items)) == list(copy)


def test_items_without_end_are_taken_bounded_number_ahead() -> None:
    drawn: list[int] = []

    def without_end() -> Iterator[int]:
        for number in itertools.count():
            drawn.append(number)
            yield number

    with running(service_of(Echo)) as service:
        results = service.requireTask(Echo).imap(without_end(), ahead=10)
        assert len(drawn) == 10
        assert list(itertools.islice(results, 500)) == list(range(500))
        assert len(drawn) == 510


def test_items_are_submitted_before_anybody_reads_the_results() -> None:
    with running_task(Gated) as task:
        results = task.imap(["item"])
        task.works_on("item", 1)
        assert next(results) == 1


def test_more_items_than_the_queue_takes_are_mapped() -> None:
    with running(service_of(Echo), "--Echo-max-items", "3") as service:
        assert list(service.requireTask(Echo).imap(range(2000), SOON)) == list(range(2000))


def test_timeout_cancels_what_has_not_begun() -> None:
    with running_task(Gated) as task:
        results = task.imap(["stuck", "waiting"], timeout=0.05)
        assert task.begun() == "stuck"
        with pytest.raises(TimeoutError):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        task.gate.put(None)
        task.queue.join()
        assert task.n_completed() == 1


def test_exception_comes_in_its_place_and_cancels() -> None:
    with running_task(Gated) as task:
        results = task.imap("abcd")
        task.gate.put(1)
        assert task.begun() == "a"
        assert next(results) == 1
        task.works_on("b", ValueError("broken"))
        assert task.begun() == "c"
        with pytest.raises(ValueError, match="broken"):
            next(results)
        task.gate.put(None)
        task.queue.join()
        assert task.began.empty()


def test_exception_of_the_iterable_reaches_the_caller() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise KeyError("source")

    with running(service_of(Echo)) as service, pytest.raises(KeyError, match="source"):
        service.requireTask(Echo).imap(broken())


def test_results_that_nobody_wants_any_more_are_cancelled() -> None:
    with running_task(Gated) as task:
        results = task.imap(range(100))
        assert task.begun() == 0
        del results
        task.gate.put(None)
        task.queue.join()
        assert task.n_completed() == 1


def test_progress_tells_how_many_of_how_many() -> None:
    seen: list[tuple[int, int | None]] = []
    with running_task(Echo) as task:
        list(task.imap("abc", progress=lambda done, total: seen.append((done, total))))
        list(task.imap(iter("ab"), progress=lambda done, total: seen.append((done, total))))
    assert seen == [(1, 3), (2, 3), (3, 3), (1, None), (2, None)]
