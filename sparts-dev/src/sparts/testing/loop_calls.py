"""The first half of `sparts.testing.loops`: calls into a loop that runs, and what it costs."""

# ruff: noqa: S101 - the assertions of tests

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import queue
import threading
import unittest
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.loops import LoopBoundTask, LoopTask
from sparts.testing.leftovers import Leftovers
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import WAIT
from sparts.vservice import VService
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence


class Bound(LoopBoundTask):
    """Lives on the loop under test, and notes what is called in it."""

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.idents: set[int] = set()

    def note(self, event: str) -> None:
        """Note an event, and the thread in which it happens."""
        self.idents.add(threading.get_ident())
        self.events.put(event)

    def start_in_loop(self) -> Any:
        """Note it."""
        self.note("start")

    async def stop_in_loop(self) -> None:
        """Note it."""
        self.note("stop")

    def next_event(self) -> str:
        """Wait for an event, and return it."""
        return self.events.get(timeout=WAIT)


class LoopCalls:
    """What holds for calls into a loop, and what a loop costs; see `LoopContract`."""

    loop_task: ClassVar[type[LoopTask]]
    """The loop task under test."""
    argv: Sequence[str] = ()
    """The command line of the services."""
    cycles = 50
    """How often the loop is started and stopped in search of what stays behind."""

    @abstractmethod
    def never(self) -> Awaitable[Any]:
        """Return something that the loop can await and that never ends; called in its thread."""

    @abstractmethod
    def crash(self, task: LoopTask) -> None:
        """Have the loop itself fail with an `Exception`; called in its thread."""

    def ident_of(self, task: LoopTask) -> int | None:
        """Return the ident of the thread that the loop runs in; override it for one of another
        task's.
        """
        return task.threads[0].ident

    # -- helpers -----------------------------------------------------------------------------------

    def tasks(self, bound: type[Bound] = Bound, **loop: Any) -> tuple[type[LoopTask], type[Bound]]:
        """Return a loop task with other attributes, and a task that is bound to it."""
        made: Any = type(self.loop_task.__name__, (self.loop_task,), loop) if loop else None
        loop_task = made or self.loop_task
        return loop_task, type(bound.__name__, (bound,), {"LOOP": loop_task})

    def make(self, *tasks: type[VTask]) -> VService:
        """Return a service of these tasks, not started."""
        return make_service(service_of(*tasks), *self.argv)

    @contextlib.contextmanager
    def running(self, *tasks: type[VTask]) -> Iterator[VService]:
        """Run a service of these tasks, which ends in order."""
        with running(service_of(*tasks), *self.argv) as service:
            yield service

    async def wait_forever(self) -> None:
        """Await what never ends."""
        await self.never()

    # -- calls -------------------------------------------------------------------------------------

    def test_call_runs_in_the_thread_of_the_loop_and_gives_the_result(self) -> None:
        """`call` gives the result of what it runs in the loop."""
        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            assert task.call(threading.get_ident).result(WAIT) == self.ident_of(task)
            assert task.call(divmod, 7, 2).result(WAIT) == (3, 1)
            assert task.call(dict, a=1).result(WAIT) == {"a": 1}

    def test_what_a_call_returns_is_awaited(self) -> None:
        """A coroutine function's result is what it returns in the end."""

        async def twice(number: int) -> tuple[int, int]:
            return threading.get_ident(), 2 * number

        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            assert task.call(twice, 21).result(WAIT) == (self.ident_of(task), 42)

    def test_calls_of_each_of_32_threads_run_in_its_order(self) -> None:
        """The order of calls is kept for each thread."""
        seen: list[tuple[int, int]] = []
        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)

            def call(caller: int) -> list[int]:
                def see(number: int) -> int:
                    seen.append((caller, number))
                    return caller * 1000 + number

                futures = [task.call(see, number) for number in range(100)]
                return [future.result(WAIT) for future in futures]

            with concurrent.futures.ThreadPoolExecutor(32) as threads:
                results = list(threads.map(call, range(32)))
        for caller in range(32):
            assert results[caller] == [caller * 1000 + number for number in range(100)]
            assert [n for who, n in seen if who == caller] == list(range(100))

    def test_calls_before_the_loop_runs_wait_for_it_and_keep_their_order(self) -> None:
        """No call is lost because it comes too early."""
        seen: list[int] = []
        futures: list[concurrent.futures.Future[None]] = []

        class Early(Bound):
            def initTask(self) -> None:  # noqa: N802
                super().initTask()
                futures.extend(self.loop_task.call(seen.append, number) for number in range(100))
                assert not self.loop_task.open

        with self.running(*self.tasks(Early)):
            for future in futures:
                future.result(WAIT)
        assert seen == list(range(100))

    def test_an_exception_in_a_call_goes_to_its_future_and_the_loop_goes_on(self) -> None:
        """The future raises it; the task has not failed."""

        async def fail() -> None:
            raise ValueError("awaited")

        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            assert isinstance(task.call(int, "one").exception(WAIT), ValueError)
            assert str(task.call(fail).exception(WAIT)) == "awaited"
            assert task.call(int, "1").result(WAIT) == 1
        assert not task.supervisor.n_failures()

    def test_a_cancelled_call_is_not_run(self) -> None:
        """A future can be cancelled while its call waits."""
        gate, seen = threading.Event(), list[int]()
        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            task.call(gate.wait, WAIT)
            future = task.call(seen.append, 1)
            assert future.cancel()
            gate.set()
            assert concurrent.futures.wait([future], WAIT).done == {future}
            task.call(int).result(WAIT)
        assert not seen

    def test_a_cancelled_call_cancels_what_is_awaited(self) -> None:
        """A future can be cancelled while its call is under way."""
        began, cancelled = threading.Event(), threading.Event()

        async def wait() -> None:
            began.set()
            try:
                await self.never()
            finally:
                cancelled.set()

        with self.running(self.loop_task) as service:
            future = service.requireTask(self.loop_task).call(wait)
            assert began.wait(WAIT)
            assert future.cancel()
            assert cancelled.wait(WAIT)
            assert concurrent.futures.wait([future], WAIT).done == {future}

    def test_an_exception_that_only_the_loop_catches_is_logged_and_the_loop_goes_on(self) -> None:
        """Nothing is lost silently, and nothing ends the loop."""
        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            with errors_of(task.logger) as errors:
                task.call(task._post, lambda: int("one")).result(WAIT)
                record = errors.get(timeout=WAIT)
                while record.exc_info is None:  # that the loop was blocked, on a busy machine
                    record = errors.get(timeout=WAIT)
            assert isinstance(record.exc_info[1], ValueError)
            assert task.call(int, "1").result(WAIT) == 1

    # -- what it costs -----------------------------------------------------------------------------

    def test_nothing_stays_behind_when_it_is_started_and_stopped_often(self) -> None:
        """Threads and descriptors."""

        def once() -> None:
            with self.running(*self.tasks()) as service:
                service.requireTask(self.loop_task).call(self.never)

        once()
        before = Leftovers()
        for _ in range(self.cycles):
            once()
        before.check("The loop")

    def test_an_idle_loop_never_wakes_up(self) -> None:
        """Counted by the system, over a second and a half."""
        with self.running(*self.tasks()) as service:
            service.requireTask(self.loop_task).call(int).result(WAIT)
            counts = [_switches(service)]
            for _ in range(5):  # after the last call, it may have to go to sleep first
                threading.Event().wait(1.5)
                counts.append(_switches(service))
                if counts[-1] == counts[-2]:
                    break
        assert counts[-1] == counts[-2], counts


@contextlib.contextmanager
def errors_of(
    logger: logging.Logger, level: int = logging.WARNING
) -> Iterator[queue.SimpleQueue[logging.LogRecord]]:
    """Give a queue of what a logger logs at a level (as a warning) or worse."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = logging.Handler(level)
    handler.emit = lambda record: records.put(record)  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def _switches(service: VService) -> dict[str, int]:
    threads = [t for t in threading.enumerate() if t.name.startswith(service.name)]
    return {thread.name: switches_of(thread) for thread in threads}


def switches_of(thread: threading.Thread) -> int:
    """How often a thread has gone to sleep, as Linux counts it; elsewhere the test is skipped."""
    try:
        with open(f"/proc/self/task/{thread.native_id}/status", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
    except FileNotFoundError:
        raise unittest.SkipTest("This system does not count how often a thread sleeps.") from None
    return int(lines["voluntary_ctxt_switches"])
