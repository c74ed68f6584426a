"""What an item costs in a queue task, against a pool and against a queue used by hand."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.testing.running import running
from sparts.vservice import VService

from bench.harness import Report, interleave

ITEMS = (1_000, 10_000, 100_000)
WORKERS = (1, 8)
PEER = "ThreadPoolExecutor(1)"
BY_HAND = "by hand"


class EmptyTask(QueueTask):
    """Does nothing with its items."""

    def execute(self, item: Any, context: ExecuteContext) -> None:
        """Do nothing."""


class EmptyService(VService):
    """A service of one queue task."""

    TASKS = (EmptyTask,)

    def initLogging(self) -> None:  # noqa: N802
        """Log nothing."""
        logging.getLogger(self.name).setLevel(logging.CRITICAL)


class ByHand:
    """What a careful person writes: a worker on a queue, that counts, measures and survives."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.queue: queue.Queue[Any] = queue.Queue()
        self.completed = Counter("completed", "Items done.", registry=registry)
        self.duration = Histogram("duration", "Seconds an item.", registry=registry)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def execute(self, item: Any) -> None:
        """Do nothing."""

    def run(self) -> None:
        """Work on items until None comes."""
        while (item := self.queue.get()) is not None:
            began = time.perf_counter()
            try:
                self.execute(item)
                self.completed.inc()
            except Exception:
                logging.getLogger("byhand").exception("Failed: %r", item)
            finally:
                self.duration.observe(time.perf_counter() - began)
                self.queue.task_done()

    def stop(self) -> None:
        """End the worker."""
        self.queue.put(None)
        self.thread.join()


def submit_all(submit: Callable[[int], Future[Any]], number: int) -> float:
    """Give the seconds from the first submission to the last result."""
    began = time.perf_counter()
    for future in [submit(item) for item in range(number)]:
        future.result()
    return time.perf_counter() - began


def submit_each(submit: Callable[[int], Future[Any]], number: int) -> float:
    """Give the seconds of so many submissions, each waited for before the next."""
    began = time.perf_counter()
    for item in range(number):
        submit(item).result()
    return time.perf_counter() - began


def put_all(put: Callable[[int], None], join: Callable[[], None], number: int) -> float:
    """Give the seconds from the first put until every item is done."""
    began = time.perf_counter()
    for item in range(1, number + 1):
        put(item)
    join()
    return time.perf_counter() - began


def nothing(item: Any) -> None:
    """Do nothing."""


def measure(report: Report, task: EmptyTask) -> None:
    """Compare one task with its peers."""
    workers = f"{task.workers} worker{'s' if task.workers > 1 else ''}"
    by_hand = ByHand()
    with ThreadPoolExecutor(1) as pool:

        def theirs(item: int) -> Future[Any]:
            return pool.submit(nothing, item)

        for number in ITEMS:
            rounds = interleave(
                {
                    "ours": partial(submit_all, task.submit, number),
                    "theirs": partial(submit_all, theirs, number),
                }
            )
            report.ratio(
                f"submit, then result: {number:,} items, {workers}",
                rounds["ours"], rounds["theirs"], peer=PEER, at_most=1.0,
            )  # fmt: skip
            hand = partial(put_all, by_hand.queue.put, by_hand.queue.join, number)
            rounds = interleave(
                {"ours": partial(put_all, task.queue.put, task.queue.join, number), "hand": hand}
            )
            report.ratio(
                f"put, then join: {number:,} items, {workers}",
                rounds["ours"], rounds["hand"], peer=BY_HAND, at_most=1.0,
            )  # fmt: skip
        rounds = interleave(
            {
                "ours": partial(submit_each, task.submit, 2_000),
                "theirs": partial(submit_each, theirs, 2_000),
            }
        )
        report.ratio(
            f"submit and wait for each: 2,000 items, {workers}",
            rounds["ours"], rounds["theirs"], peer=PEER,
        )  # fmt: skip
    by_hand.stop()


def main() -> None:
    """Measure with one worker and with eight."""
    with Report("queue", packages=["prometheus-client"]) as report:
        for workers in WORKERS:
            with running(EmptyService, "--EmptyTask-workers", str(workers)) as service:
                measure(report, service.requireTask(EmptyTask))


if __name__ == "__main__":
    main()
