"""Contract tests for backlogs: a subclass of `BacklogContract` tries one with pytest.

::

    class TestMine(BacklogContract):
        def make(self, maxsize=0):
            return MyBacklog("Task", maxsize)
"""

# ruff: noqa: S101 - the assertions of tests

from __future__ import annotations

import queue
import threading
from abc import abstractmethod
from concurrent.futures import Future
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sparts.context import ExecuteContext
from sparts.errors import TaskStoppedError
from sparts.tasks.backlog import RefusedError
from sparts.tasks.submission import Submission
from sparts.testing.waiting import WAIT, error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.tasks.backlog import Backlog

__all__ = ["BacklogContract", "Worker"]


class Worker(NamedTuple):
    """A worker in the hands of a test."""

    take: Callable[[], ExecuteContext | None]
    """Take an item."""
    run: Callable[[Callable[[], Any]], Any]
    """Call a function as this worker."""


class BacklogContract:
    """What holds for every backlog. Override `make`, and say what yours cannot.

    Each test makes its own backlog, whose items are those of the test alone. Its workers are
    threads. For one whose workers are coroutines there is
    `sparts.testing.async_backlogs.AsyncBacklogContract`.
    """

    ORDERED: ClassVar[bool] = True
    """Whether items come in the order in which they were put in."""
    BOUNDED: ClassVar[bool] = True
    """Whether ``maxsize`` holds exactly."""
    JOINS: ClassVar[bool] = True
    """Whether `Backlog.join` waits; False: it raises `RefusedError`."""
    EXACTLY_ONCE: ClassVar[bool] = True
    """Whether no item ever comes twice; False: only that none is lost."""

    @abstractmethod
    def make(self, maxsize: int = 0) -> Backlog:
        """Return a new, empty backlog; it is started, closed and given up by the test."""

    def prepare(self, backlog: Backlog) -> None:
        """Do what comes before the start of a backlog; the default does nothing."""

    def ended(self, backlog: Backlog) -> None:
        """Clean up after a backlog that was given up; the default does nothing."""

    # -- helpers -----------------------------------------------------------------------------------

    @contextmanager
    def started(self, maxsize: int = 0) -> Iterator[Backlog]:
        """Make and start a backlog; give it up at the end."""
        backlog = self.make(maxsize)
        self.prepare(backlog)
        backlog.start()
        try:
            yield backlog
        finally:
            backlog.close(None)
            backlog.give_up()
            self.ended(backlog)

    def work(
        self, backlog: Backlog, step: Callable[[ExecuteContext], object], workers: int = 1
    ) -> list[threading.Thread]:
        """Start workers that call a function for each item until the backlog ends them."""

        def run() -> None:
            while (context := backlog.take()) is not None:
                step(context)
            backlog.worker_left()

        threads = [threading.Thread(target=run, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        return threads

    @contextmanager
    def worker(self, backlog: Backlog) -> Iterator[Worker]:
        """Be a worker that does what the test says, step by step."""
        yield Worker(backlog.take, lambda step: step())

    def drain(self, backlog: Backlog, threads: list[threading.Thread]) -> None:
        """Close a backlog, and wait until its workers have done everything."""
        backlog.close(inf)
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive(), "a worker did not end"

    # -- the way of an item ------------------------------------------------------------------------

    def test_items_come_as_they_were_put(self) -> None:
        """Each of them once, first attempt, nobody waiting for it."""
        with self.started() as backlog:
            for item in range(5):
                backlog.put(item)
            backlog.put_many(range(5, 10))
            seen: list[tuple[Any, int, bool]] = []

            def step(context: ExecuteContext) -> None:
                seen.append((context.item, context.attempt, context.awaited))
                backlog.done(context)

            self.drain(backlog, self.work(backlog, step))
            wanted = [(item, 1, False) for item in range(10)]
            assert (seen if self.ORDERED else sorted(seen)) == wanted

    def test_worker_that_waits_gets_an_item_that_comes(self) -> None:
        """Without looking for it."""
        with self.started() as backlog:
            taken: queue.SimpleQueue[Any] = queue.SimpleQueue()

            def step(context: ExecuteContext) -> None:
                backlog.done(context)
                taken.put(context.item)

            threads = self.work(backlog, step, workers=2)
            for item in range(20):
                backlog.put(item)
                assert taken.get(timeout=WAIT) == item
            self.drain(backlog, threads)

    def test_outcome_reaches_the_future(self) -> None:
        """The result, and the error of an item that is buried."""
        with self.started() as backlog:
            error = ValueError("no good")

            def step(context: ExecuteContext) -> None:
                if context.item == "bad":
                    backlog.bury(context, error)
                    backlog.done(context, error=error)
                else:
                    backlog.done(context, context.item + "!")

            futures = {item: self.submit(backlog, item) for item in ("good", "bad", "fine")}
            threads = self.work(backlog, step)
            assert futures["good"].result(WAIT) == "good!"
            assert futures["fine"].result(WAIT) == "fine!"
            assert "no good" in str(futures["bad"].exception(WAIT))
            self.drain(backlog, threads)

    def submit(self, backlog: Backlog, item: Any) -> Future[Any]:
        """Add an item as `QueueTask.submit` does, and return its future."""
        future: Future[Any] = backlog.add(ExecuteContext(1, item, None, Submission()))
        return future

    def test_item_that_is_put_back_comes_again(self) -> None:
        """With the attempt that it was given, holding no worker, and with who waits for it."""
        with self.started() as backlog:
            seen: queue.SimpleQueue[tuple[Any, int]] = queue.SimpleQueue()

            def step(context: ExecuteContext) -> None:
                seen.put((context.item, context.attempt))
                if context.item == "later" and context.attempt == 1:
                    context.attempt = 2
                    assert backlog.put_back(context, 0.2)
                else:
                    backlog.done(context, context.attempt)

            threads = self.work(backlog, step)
            future = self.submit(backlog, "later")
            assert seen.get(timeout=WAIT) == ("later", 1)
            other = self.submit(backlog, "other")
            assert other.result(WAIT) == 1
            assert not future.cancel(), "an item that has begun was cancelled"
            assert future.result(WAIT) == 2
            assert sorted(seen.get(timeout=WAIT) for _ in range(2)) == [("later", 2), ("other", 1)]
            self.drain(backlog, threads)

    def test_item_of_a_worker_that_fails_is_not_in_the_way(self) -> None:
        """The next worker goes on."""
        with self.started() as backlog:
            backlog.put("first")
            with self.worker(backlog) as worker:
                first = worker.take()
                assert first is not None
                worker.run(lambda: backlog.done(first, error=ValueError()))
                worker.run(backlog.worker_left)
            future = self.submit(backlog, "second")
            self.drain(backlog, self.work(backlog, lambda context: backlog.done(context, 2)))
            assert future.result(WAIT) == 2

    def test_none_of_many_items_is_lost(self) -> None:
        """Several threads put in, several workers take."""
        with self.started() as backlog:
            done: list[int] = []

            def step(context: ExecuteContext) -> None:
                done.append(context.item)
                backlog.done(context)

            threads = self.work(backlog, step, workers=4)
            feeders = [
                threading.Thread(target=backlog.put_many, args=(range(n * 250, n * 250 + 250),))
                for n in range(4)
            ]
            for feeder in feeders:
                feeder.start()
            for feeder in feeders:
                feeder.join(WAIT)
            self.drain(backlog, threads)
            assert set(done) == set(range(1000))
            assert len(done) == 1000 or not self.EXACTLY_ONCE

    # -- room, depth -------------------------------------------------------------------------------

    def test_full_backlog_refuses_more(self) -> None:
        """`queue.Full` at once, or when the time is over; then there is room again."""
        if not self.BOUNDED:
            return
        with self.started(maxsize=2) as backlog:
            backlog.put(1)
            backlog.put_nowait(2)
            for refused in (lambda: backlog.put_nowait(3), lambda: backlog.put(3, timeout=0.05)):
                assert isinstance(error_of(refused), queue.Full)
            with self.worker(backlog) as worker:
                context = worker.take()
                assert context is not None
                worker.run(lambda: backlog.done(context))
                backlog.put(3, timeout=WAIT)

    def test_depth_is_known_or_refused(self) -> None:
        """It never waits, and is None if it is not known; `RefusedError` says why."""
        with self.started() as backlog:
            if backlog.depth() is None:
                assert str(error_of(backlog.qsize))
            else:
                assert backlog.depth() == 0
                assert backlog.empty()

    def test_join_waits_or_is_refused(self) -> None:
        """Until nothing waits or is worked on."""
        with self.started() as backlog:
            if not self.JOINS:
                assert str(error_of(backlog.join))
                assert isinstance(error_of(backlog.join), RefusedError)
                return
            done: list[Any] = []

            def step(context: ExecuteContext) -> None:
                done.append(context.item)
                backlog.done(context)

            backlog.put_many("abc")
            threads = self.work(backlog, step)
            backlog.join()
            assert done == ["a", "b", "c"]
            self.drain(backlog, threads)

    # -- the end -----------------------------------------------------------------------------------

    def test_closed_backlog_takes_nothing_more(self) -> None:
        """`TaskStoppedError`, from every way in."""
        with self.started() as backlog:
            backlog.close(inf)
            for add in (
                lambda: backlog.put(1),
                lambda: backlog.put_nowait(1),
                lambda: backlog.put_many([1]),
                lambda: self.submit(backlog, 1),
            ):
                assert isinstance(error_of(add), TaskStoppedError)
            with self.worker(backlog) as worker:
                assert worker.take() is None

    def test_close_ends_workers_that_wait(self) -> None:
        """All of them, whether it drains or not."""
        for drain in (None, inf):
            with self.started() as backlog:
                threads = self.work(backlog, backlog.done, workers=3)
                backlog.close(drain)
                for thread in threads:
                    thread.join(WAIT)
                    assert not thread.is_alive(), "a worker did not end"

    def test_what_is_not_done_is_left_once(self) -> None:
        """Dropped or returned: what is in work, what waits, and what was put off."""
        with self.started() as backlog, self.worker(backlog) as worker:
            backlog.put("off")
            off = worker.take()
            assert off is not None
            off.attempt = 2
            worker.run(lambda: backlog.put_back(off, 3600))
            backlog.put("work")
            work = worker.take()
            assert work is not None
            backlog.put_many(["wait 1", "wait 2"])
            backlog.close(None)
            left = backlog.give_up()
            items = [context.item for context in (*left.dropped, *left.returned)]
            assert len(items) == len(set(items)), "an item is left twice"
            assert set(items) <= {"work", "wait 1", "wait 2", "off"}
            assert not left.dropped or {"work", "wait 1", "wait 2"} <= set(items)
            assert backlog.give_up() == ([], [])
            worker.run(lambda: backlog.done(work))
            worker.run(backlog.worker_left)

    def test_drain_ends_when_it_is_closed_again(self) -> None:
        """``close(None)`` after ``close(inf)``: what waits is left."""
        with self.started() as backlog:
            backlog.put_many(range(3))
            backlog.close(inf)
            backlog.close(None)
            with self.worker(backlog) as worker:
                assert worker.take() is None
