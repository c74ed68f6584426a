"""AsyncioTask: a coroutine as a worker, supervised as a thread is."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, SpartsError, StopTimeoutError, TaskFailedError
from sparts.kernel.runner import ServiceThread
from sparts.states import TaskState
from sparts.tasks.asyncio import AsyncioLoopTask, AsyncioTask
from sparts.testing.loops import WAIT, errors_of
from sparts.testing.running import make_service, running_task, service_of
from sparts.vtask import VTask

from tests.core import scripted_tasks
from tests.core.failing import failing
from tests.core.scripted_tasks import AT_ONCE, LATE, AsyncScripted

scripted = partial(scripted_tasks.scripted, AsyncScripted)


def run_to_end(cls: type[VTask]) -> ServiceThread:
    """Run a service of a task that ends it, perhaps while it is still being started."""
    thread = ServiceThread(make_service(service_of(cls)))
    thread.start()
    with suppress(SpartsError):
        thread.join(WAIT)
    assert not thread.is_alive()
    return thread


def test_run_is_cancelled_and_awaited_at_the_stop() -> None:
    class Careful(AsyncioTask):
        seen: list[object] = []

        async def run(self) -> None:
            self.seen.append(threading.get_ident())
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.001)
                self.seen.append((threading.get_ident(), self.running, self.loop_task.open))

    with running_task(Careful) as task:
        ident = task.service.requireTask(AsyncioLoopTask).threads[0].ident
        task.loop_task.call(int).result(WAIT)
        assert task.state == "ALIVE"
        assert not task.threads
    assert Careful.seen == [ident, (ident, False, True)]
    assert task.state is TaskState.STOPPED
    assert not task.supervisor.n_failures()


@pytest.mark.parametrize(
    ("leaves", "status"), [(SystemExit(3), 3), (KeyboardInterrupt(), 0), (MemoryError(), 1)]
)
def test_what_no_policy_restarts_ends_the_service(leaves: BaseException, status: int) -> None:
    cls = scripted(leaves, RESTART=AT_ONCE)
    thread = run_to_end(cls)
    task = thread.service.requireTask(cls)
    assert thread.status == status
    assert not task.supervisor.n_restarts()
    assert task.loop_task.state is TaskState.STOPPED


def test_cancellation_that_is_not_stop_is_failure() -> None:
    cls = scripted(RESTART=AT_ONCE)
    with running_task(cls) as task:
        assert task.next_events(1) == ["began"]

        def cancel() -> None:
            for other in asyncio.all_tasks():
                if other.get_name() == task.logger.name:
                    other.cancel()

        with errors_of(task.logger) as errors:
            task.loop_task.call(cancel).result(WAIT)
            assert "was cancelled, and not by the stop" in errors.get(timeout=WAIT).getMessage()
        assert task.next_events(2) == ["ended", "began"]
        assert task.supervisor.n_restarts() == 1


def test_a_cancellation_before_run_begins_ends_the_service() -> None:
    class Cancelled(AsyncioTask):
        def start_in_loop(self) -> None:
            super().start_in_loop()
            self._coroutines[0].cancel()

        async def run(self) -> None:
            raise NotImplementedError

    thread = run_to_end(Cancelled)
    assert thread.status == 1
    assert "cancelled before it began" in str(thread.error)
    assert thread.service.requireTask(Cancelled).state is TaskState.DEAD


def test_exception_during_stop_makes_status_1() -> None:
    class Failing(AsyncioTask):
        RESTART = AT_ONCE

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("disk full")

    with failing(Failing, match="disk full") as task:
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        task.service.shutdown()
    assert not task.supervisor.n_restarts()


def test_run_that_ignores_cancellation_is_named() -> None:
    let_go = threading.Event()

    class Stubborn(AsyncioTask):
        async def run(self) -> None:
            while not let_go.is_set():
                with suppress(asyncio.CancelledError):
                    await self.never_mind()

        async def never_mind(self) -> None:
            self.wait = asyncio.get_running_loop().create_future()
            await self.wait

    service = make_service(service_of(Stubborn), "--stop-timeout", "100ms")
    thread = service.startBG()
    task = service.requireTask(Stubborn)
    loop_task: Any = task.loop_task
    loop, loop_thread = loop_task.loop, loop_task.threads[0]
    with errors_of(service.logger) as errors:
        service.shutdown()
        with pytest.raises(StopTimeoutError, match="Stubborn"):
            thread.join(WAIT)
        said = errors.get(timeout=WAIT).getMessage()
    assert thread.status == 70
    assert "Coroutine Service.Stubborn" in said
    assert "in never_mind" in said
    let_go.set()
    loop.call_soon_threadsafe(lambda: task.wait.cancel())
    loop_thread.join(WAIT)
    assert not loop_thread.is_alive()


class FragileLoop(AsyncioLoopTask):
    RESTART = AT_ONCE


def crash(task: AsyncioTask) -> None:
    """Have the loop fail, and return when it runs again."""
    loop_task = task.loop_task
    assert isinstance(loop_task, AsyncioLoopTask)
    pending = loop_task.call(asyncio.Event().wait)
    loop_task.call(loop_task.loop.stop)
    assert isinstance(pending.exception(WAIT), LoopStoppedError)
    loop_task.call(int).result(WAIT)


def test_run_begins_again_when_its_loop_was_restarted() -> None:
    cls = scripted(LOOP=FragileLoop)
    with running_task(cls) as task:
        for number in (1, 2):
            assert task.next_events(1) == ["began"]
            crash(task)
            assert task.next_events(1) == ["ended"]
            assert task.loop_task.supervisor.n_restarts() == number
        assert task.next_events(1) == ["began"]
        assert task.state is TaskState.ALIVE
        assert not task.supervisor.n_failures()
        assert not task.supervisor.n_restarts()
    assert task.next_events(1) == ["ended"]


def test_done_run_stays_done_after_a_loop_restart() -> None:
    cls = scripted("return", LOOP=FragileLoop)
    with running_task(cls) as task:
        assert task.next_events(2) == ["began", "ended"]
        crash(task)
        assert task.state is TaskState.DONE
    assert task.events.empty()


def test_waiting_run_begins_with_its_restarted_loop() -> None:
    cls = scripted(ValueError("no way"), LOOP=FragileLoop, RESTART=LATE)
    with running_task(cls) as task:
        assert task.next_events(1) == ["began"]
        crash(task)
        assert task.next_events(1) == ["began"]
        assert task.state is TaskState.ALIVE


def test_a_task_without_run_says_so() -> None:
    thread = run_to_end(AsyncioTask)
    assert isinstance(thread.error, TaskFailedError)
    assert "AsyncioTask has nothing to do: write its run()" in str(thread.error)
