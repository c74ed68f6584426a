"""AsyncQueueTask, where coroutines differ from threads; the tests of QueueTask try both."""

from __future__ import annotations

import asyncio
import queue
import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest
from sparts.errors import LoopStoppedError
from sparts.tasks.async_queue import AsyncQueueTask, ExecuteContext
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.testing.running import running_task
from sparts.vtask import RestartPolicy

from tests.core.failing import failing
from tests.core.queue_tasks import SOON, AsyncEcho, AsyncGated, all_cancelled, running_busy, variant
from tests.threads import run_in_threads

AT_ONCE = RestartPolicy("on-failure", first_wait=0.001)


def test_items_in_work_are_as_many_as_workers() -> None:
    with running_task(AsyncGated, "--AsyncGated-workers", "3") as task:
        futures = [task.submit(number) for number in range(5)]
        assert [task.begun() for _ in range(3)] == [0, 1, 2]
        task.loop_task.call(asyncio.sleep, 0).result(SOON)
        assert task.began.empty()
        assert task.queue_depth() == 2
        task.gate.put("first")
        assert futures[0].result(SOON) == "first"
        assert task.begun() == 3
        for _ in range(4):
            task.gate.put(None)
        assert task.begun() == 4
        task.queue.join()
        task.loop_task.call(asyncio.sleep, 0).result(SOON)
        task.queue.put("after all")
        assert task.begun() == "after all"
        task.gate.put(None)


def test_items_run_in_the_thread_of_the_loop() -> None:
    class Where(AsyncQueueTask):
        async def execute(self, item: object, context: ExecuteContext) -> int:
            return threading.get_ident()

    with running_task(Where) as task:
        assert task.submit(None).result(SOON) == task.loop_task.threads[0].ident
        assert not task.threads


def test_coroutine_of_its_loop_awaits_a_submission() -> None:
    with running_task(AsyncEcho) as task:

        async def work() -> list[Any]:
            return [await task.submit(1), *await asyncio.gather(*map(task.submit, (2, 3)))]

        assert task.loop_task.call(work).result(SOON) == [1, 2, 3]


def test_nobody_waits_for_a_pausing_worker() -> None:
    policy = RestartPolicy("on-failure", first_wait=10000.0, max_wait=10000.0)
    with running_busy(variant(AsyncGated, RESTART=policy, MAX_ATTEMPTS=1)) as task:
        task.gate.put(ValueError("no way"))
        run_in_threads(task.queue.join)
        assert [item for item, _ in task.dead] == ["running"]


def test_work_that_cancels_itself_ends_its_item_only() -> None:
    cls = variant(AsyncEcho, WORKERS=1)
    with running_task(cls) as task:
        with pytest.raises(CancelledError):
            task.submit(asyncio.CancelledError()).result(SOON)
        assert task.submit("done").result(SOON) == "done"
        assert not task.supervisor.n_failures()


@pytest.mark.parametrize("awaits", [False, True])
def test_next_item_is_not_cancelled_with_the_last(awaits: bool) -> None:
    class Cancelling(AsyncQueueTask):
        WORKERS = 1
        ON_ERROR = "log"

        async def execute(self, times: int, context: ExecuteContext) -> int:
            worker: Any = asyncio.current_task()
            before = worker.cancelling()
            for _ in range(times):
                worker.cancel()
            if awaits:
                await asyncio.sleep(0)
            return int(before)

    with running_task(Cancelling) as task:
        futures = [task.submit(times) for times in (2, 0, 1, 0)]
        errors = [type(future.exception(SOON)) for future in futures]
        assert errors[::2] == ([CancelledError] * 2 if awaits else [type(None)] * 2)
        assert [future.result(SOON) for future in futures[1::2]] == [0, 0]
        assert not task.supervisor.n_failures()


def test_endless_work_is_handed_over_and_cancelled() -> None:
    cleaned_up: list[Any] = []

    class Endless(AsyncGated):
        WORKERS = 2

        async def execute(self, item: Any, context: ExecuteContext) -> None:
            try:
                await super().execute(item, context)
            finally:
                cleaned_up.append((item, list(self.dropped)))

    with running_task(Endless, "--stop-timeout", "3s") as task:
        futures = [task.submit(number) for number in range(3)]
        assert [task.begun(), task.begun()] == [0, 1]
    assert task.dropped == [0, 1, 2]
    assert sorted(cleaned_up) == [(0, [0, 1, 2]), (1, [0, 1, 2])]
    assert all_cancelled(*futures)
    assert not task.dead


def test_full_queue_refuses_its_loop() -> None:
    with running_busy(variant(AsyncGated, MAX_ITEMS=1)) as task:
        task.queue.put(2)
        with pytest.raises(queue.Full):
            task.loop_task.call(task.queue.put, 3).result(SOON)
        task.gate.put(None)
        task.gate.put(None)


# -- a loop that fails -----------------------------------------------------------------------------


def test_work_interrupted_by_its_loop_is_retried() -> None:
    class Interrupted(AsyncGated):
        LOOP = variant(AsyncioLoopTask, RESTART=AT_ONCE)
        WORKERS = 2

        async def execute(self, item: Any, context: ExecuteContext) -> Any:
            self.began.put(context)
            if context.attempt == 1 and item < 2:
                await asyncio.Event().wait()
            return item, context.attempt

    kind: type[Any] = Interrupted
    with running_task(kind) as task:
        futures = [task.submit(number) for number in range(3)]
        assert [task.begun(), task.begun()] == [0, 1]
        pending = task.loop_task.call(asyncio.Event().wait)
        task.loop_task.call(task.loop_task.loop.stop)
        assert isinstance(pending.exception(SOON), LoopStoppedError)
        assert [future.result(SOON) for future in futures] == [(0, 2), (1, 2), (2, 1)]
        assert not task.supervisor.n_failures()


def test_loop_that_fails_for_good_loses_nothing() -> None:
    with failing(AsyncGated, match="AsyncioLoopTask") as task:
        future = task.submit("item")
        assert task.begun() == "item"
        loop_task: Any = task.loop_task
        loop_task.call(loop_task.loop.stop)
    assert task.dropped == ["item"]
    assert isinstance(future.exception(SOON), CancelledError)
