"""AsyncQueueTask: the promises of QueueTask, kept by coroutines."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import suppress
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, SpartsError, TaskStoppedError
from sparts.kernel.runner import ServiceThread
from sparts.states import TaskState
from sparts.tasks.async_queue import AsyncQueueTask, ExecuteContext, TryLater
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.testing.clock import TurnableClock
from sparts.testing.loops import WAIT
from sparts.testing.running import make_service, running, service_of
from sparts.vtask import RestartPolicy

START = 1000.0
SOON = RestartPolicy("on-failure", first_wait=0.001)


class Gated(AsyncQueueTask):
    """Begins an item, then waits for the test to say how it ends."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.began: queue.SimpleQueue[ExecuteContext] = queue.SimpleQueue()
        self.gates: dict[Any, asyncio.Future[Any]] = {}
        self.dropped: list[Any] = []
        self.dead: list[tuple[Any, BaseException]] = []

    async def execute(self, item: Any, context: ExecuteContext) -> Any:
        self.gates[item] = gate = asyncio.get_running_loop().create_future()
        self.began.put(context)
        return await gate

    def begun(self) -> Any:
        """Wait until an item is begun, and give it."""
        return self.began.get(timeout=WAIT).item

    def end(self, item: Any, outcome: Any = None) -> None:
        """Have the work on an item end with a result, or an exception."""

        def end() -> None:
            if isinstance(outcome, BaseException):
                self.gates[item].set_exception(outcome)
            else:
                self.gates[item].set_result(outcome)

        self.loop_task.call(end).result(WAIT)

    def on_dropped(self, items: Sequence[Any]) -> None:
        self.dropped += items

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        self.dead.append((context.item, error))


class Echo(AsyncQueueTask):
    """Gives back its items, and raises those that are exceptions."""

    async def execute(self, item: Any, context: ExecuteContext) -> Any:
        await asyncio.sleep(0)
        if isinstance(item, BaseException):
            raise item
        return item


def run_to_end(task: type[AsyncQueueTask], *items: Any) -> ServiceThread:
    """Run a service of a task until what is put in its queue has ended it."""
    thread = ServiceThread(make_service(service_of(task)))
    thread.start()
    with suppress(SpartsError):
        thread.wait_started()
        for item in items:
            thread.service.requireTask(task).queue.put(item)
        thread.join(WAIT)
    assert not thread.is_alive()
    return thread


def variant(base: type[AsyncQueueTask], **attributes: Any) -> type[Any]:
    return type(base.__name__, (base,), attributes)


def test_items_are_processed_in_order_of_arrival() -> None:
    seen: list[tuple[int, int]] = []

    class Noting(AsyncQueueTask):
        async def execute(self, item: int, context: ExecuteContext) -> None:
            seen.append((threading.get_ident(), item))

    with running(service_of(Noting)) as service:
        task = service.requireTask(Noting)
        for number in range(1000):
            task.queue.put(number)
        task.queue.join()
        assert seen == [(task.loop_task.threads[0].ident, number) for number in range(1000)]
        assert task.n_completed() == 1000
        assert task.queue_depth() == 0
        assert not task.threads


def test_items_in_work_are_as_many_as_workers() -> None:
    with running(service_of(Gated), "--Gated-workers", "3") as service:
        task = service.requireTask(Gated)
        futures = [task.submit(number) for number in range(5)]
        assert [task.begun() for _ in range(3)] == [0, 1, 2]
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        assert task.began.empty()
        assert task.queue_depth() == 2
        task.end(1, "one")
        assert futures[1].result(WAIT) == "one"
        assert task.begun() == 3
        for number in (0, 2, 3):
            task.end(number)
        assert task.begun() == 4
        task.end(4)
        wait_for(futures, WAIT)
        task.queue.join()
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        task.queue.put("after all")
        assert task.begun() == "after all"
        task.end("after all")


def test_submissions_give_the_result_or_the_exception() -> None:
    with running(service_of(Echo)) as service:
        task = service.requireTask(Echo)
        assert task.submit(7).result(WAIT) == 7
        with pytest.raises(ValueError, match="no way"):
            task.submit(ValueError("no way")).result(WAIT)
        assert list(task.map(range(100), timeout=WAIT)) == list(range(100))
        assert task.n_unhandled() == 1


def test_a_coroutine_can_await_a_submission() -> None:
    with running(service_of(Echo)) as service:
        task = service.requireTask(Echo)

        async def work() -> list[Any]:
            return [await task.submit(1), *await asyncio.gather(*map(task.submit, (2, 3)))]

        assert task.loop_task.call(work).result(WAIT) == [1, 2, 3]


def test_items_of_32_threads_run_once_each() -> None:
    with running(service_of(Echo)) as service:
        task = service.requireTask(Echo)

        def put(caller: int) -> list[int]:
            futures = [task.submit(caller * 1000 + number) for number in range(100)]
            return [future.result(WAIT) for future in futures]

        with ThreadPoolExecutor(32) as threads:
            results = list(threads.map(put, range(32)))
        assert results == [[caller * 1000 + n for n in range(100)] for caller in range(32)]
        assert task.n_completed() == 3200


def test_try_later_waits_without_a_worker() -> None:
    class Later(AsyncQueueTask):
        WORKERS = 1
        clock = TurnableClock(START)

        async def execute(self, item: str, context: ExecuteContext) -> tuple[str, int]:
            if item == "later" and context.attempt < 3:
                raise TryLater("not yet", after=10)
            return item, context.attempt

    with running(service_of(Later)) as service:
        task: Any = service.requireTask(Later)
        future = task.submit("later")
        for number in (1, 2):
            assert task.submit("now").result(WAIT) == ("now", 1)
            assert task.clock.wait_for_waiters() == [START + 10 * number]
            task.clock.turn(10)
        assert future.result(WAIT) == ("later", 3)
        assert task.n_trylater() == 2
        assert len(task.queue._bells) <= 1


def test_last_attempt_makes_a_dead_letter() -> None:
    cls = variant(Gated, MAX_ATTEMPTS=2, WORKERS=1)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        future = task.submit("item")
        for _ in range(2):
            assert task.begun() == "item"
            task.end("item", TryLater(after=0))
        assert isinstance(future.exception(WAIT), TryLater)
        assert [item for item, _ in task.dead] == ["item"]


def test_exception_that_nobody_waits_for_ends_service() -> None:
    thread = run_to_end(Echo, ValueError("no way"))
    assert thread.status == 1
    assert "Echo failed: ValueError: no way" in str(thread.error)


def test_unawaited_exception_may_only_be_logged() -> None:
    cls = variant(Echo, ON_ERROR="log")
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        task.queue.put(ValueError("no way"))
        assert task.submit(1).result(WAIT) == 1
        task.queue.join()
        assert task.n_dead_letters() == 1


def test_item_whose_worker_is_restarted_is_tried_again() -> None:
    cls = variant(Gated, RESTART=SOON, WORKERS=2)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        task.queue.put("item")
        assert task.begun() == "item"
        task.end("item", ValueError("no way"))
        assert task.began.get(timeout=WAIT).attempt == 2
        task.end("item")
        task.queue.join()
        assert task.supervisor.n_failures() == task.n_completed() == 1


def test_nobody_waits_for_a_pausing_worker() -> None:
    policy = SOON._replace(first_wait=10000.0, max_wait=10000.0)
    cls = variant(Gated, RESTART=policy, MAX_ATTEMPTS=1, WORKERS=1)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        task.queue.put("item")
        assert task.begun() == "item"
        task.end("item", ValueError("no way"))
        joiner = threading.Thread(target=task.queue.join, daemon=True)
        joiner.start()
        joiner.join(WAIT)
        assert not joiner.is_alive()
        assert [item for item, _ in task.dead] == ["item"]


def test_work_that_cancels_itself_ends_its_item_only() -> None:
    class Cancels(AsyncQueueTask):
        WORKERS = 1

        async def execute(self, item: bool, context: ExecuteContext) -> str:
            if item:
                raise asyncio.CancelledError
            return "done"

    with running(service_of(Cancels)) as service:
        task = service.requireTask(Cancels)
        with pytest.raises(CancelledError):
            task.submit(True).result(WAIT)
        assert task.submit(False).result(WAIT) == "done"
        assert not task.supervisor.n_failures()


def test_cancelled_future_is_not_processed() -> None:
    cls = variant(Gated, WORKERS=1)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        task.submit("first")
        assert task.begun() == "first"
        assert task.submit("second").cancel()
        task.queue.put("third")
        task.end("first")
        assert task.begun() == "third"
        task.end("third")


# -- the stop --------------------------------------------------------------------------------------


def test_stop_processes_the_queue_and_refuses_late_items() -> None:
    cls = variant(Gated, WORKERS=1)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        futures = [task.submit(number) for number in range(3)]
        assert task.begun() == 0
        service.shutdown()
        task.stop_event.wait(WAIT)
        for number in range(3):
            task.end(number, number)
            if number < 2:
                assert task.begun() == number + 1
        assert [future.result(WAIT) for future in futures] == [0, 1, 2]
    with pytest.raises(TaskStoppedError):
        task.queue.put("late")
    assert not task.dropped
    assert task.state is TaskState.STOPPED


def test_stop_hands_over_what_is_not_processed() -> None:
    cls = variant(Gated, WORKERS=1, DRAIN=False)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        futures = [task.submit(number) for number in range(3)]
        assert task.begun() == 0
        service.shutdown()
        task.stop_event.wait(WAIT)
        task.end(0, "done")
        assert futures[0].result(WAIT) == "done"
    assert task.dropped == [1, 2]
    assert task.n_dropped() == 2
    assert all(future.cancelled() for future in futures[1:])


def test_endless_work_is_handed_over_and_cancelled() -> None:
    cleaned_up: list[Any] = []

    class Endless(Gated):
        WORKERS = 2

        async def execute(self, item: Any, context: ExecuteContext) -> None:
            try:
                await super().execute(item, context)
            finally:
                cleaned_up.append((item, list(self.dropped)))

    with running(service_of(Endless), "--stop-timeout", "1s") as service:
        task = service.requireTask(Endless)
        futures = [task.submit(number) for number in range(3)]
        assert [task.begun(), task.begun()] == [0, 1]
    assert task.dropped == [0, 1, 2]
    assert sorted(cleaned_up) == [(0, [0, 1, 2]), (1, [0, 1, 2])]
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(WAIT)
    assert not task.dead


def test_exception_during_stop_makes_status_1_at_last() -> None:
    cls = variant(Gated, WORKERS=1)
    thread = make_service(service_of(cls)).startBG()
    task = thread.service.requireTask(cls)
    for number in (1, 2):
        task.queue.put(number)
    assert task.begun() == 1
    thread.service.shutdown()
    task.stop_event.wait(WAIT)
    task.end(1, ValueError("no way"))
    assert task.begun() == 2
    task.end(2)
    with pytest.raises(SpartsError, match="no way"):
        thread.join(WAIT)
    assert thread.status == 1
    assert task.n_completed() == 1


def test_failed_start_hands_over_early_items() -> None:
    made: list[Gated] = []

    class Early(Gated):
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            made.append(self)
            self.queue.put("early")

    class Failing(AsyncQueueTask):
        DEPS = (Early,)

        def initTask(self) -> None:  # noqa: N802
            raise ValueError("no disk")

    with pytest.raises(SpartsError, match="no disk"):
        make_service(service_of(Failing)).startBG()
    assert made[0].dropped == ["early"]


# -- a full queue ----------------------------------------------------------------------------------


def test_full_queue_blocks_other_threads_and_refuses_loop() -> None:
    cls = variant(Gated, WORKERS=1, MAX_ITEMS=1)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        task.queue.put(1)
        assert task.begun() == 1
        task.queue.put(2)
        with pytest.raises(queue.Full):
            task.loop_task.call(task.queue.put, 3).result(WAIT)
        with pytest.raises(queue.Full):
            task.queue.put(3, timeout=0.01)
        blocked: Future[None] = Future()
        thread = threading.Thread(target=lambda: blocked.set_result(task.queue.put(3)))
        thread.start()
        for number in (1, 2, 3):
            task.end(number)
            if number < 3:
                assert task.begun() == number + 1
        blocked.result(WAIT)
        thread.join(WAIT)


# -- a loop that fails -----------------------------------------------------------------------------


def test_work_interrupted_by_its_loop_is_retried() -> None:
    class Fragile(AsyncioLoopTask):
        RESTART = SOON

    cls = variant(Gated, LOOP=Fragile, WORKERS=2)
    with running(service_of(cls)) as service:
        task = service.requireTask(cls)
        futures = [task.submit(number) for number in range(3)]
        assert [task.begun(), task.begun()] == [0, 1]
        pending = task.loop_task.call(asyncio.Event().wait)
        task.loop_task.call(task.loop_task.loop.stop)
        assert isinstance(pending.exception(WAIT), LoopStoppedError)
        contexts = []
        for _ in range(3):
            contexts.append(task.began.get(timeout=WAIT))
            task.end(contexts[-1].item, contexts[-1].item)
        assert [future.result(WAIT) for future in futures] == [0, 1, 2]
        assert sorted((c.item, c.attempt) for c in contexts) == [(0, 2), (1, 2), (2, 1)]
        assert not task.supervisor.n_failures()


def test_loop_that_fails_for_good_loses_nothing() -> None:
    thread = ServiceThread(make_service(service_of(Gated)))
    thread.start()
    thread.wait_started()
    task = thread.service.requireTask(Gated)
    future = task.submit("item")
    assert task.begun() == "item"
    task.loop_task.call(task.loop_task.loop.stop)
    with suppress(SpartsError):
        thread.join(WAIT)
    assert thread.status == 1
    assert task.dropped == ["item"]
    assert isinstance(future.exception(WAIT), CancelledError)
