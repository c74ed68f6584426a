"""AsyncioTask: a coroutine as a worker, supervised as a thread is."""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, SpartsError, StopTimeoutError, TaskFailedError
from sparts.hookspecs import hookimpl
from sparts.kernel.runner import ServiceThread
from sparts.states import ServiceStatus, TaskState
from sparts.tasks.asyncio import AsyncioLoopTask, AsyncioTask
from sparts.testing.loops import WAIT, errors_of
from sparts.testing.running import make_service, running, running_task
from sparts.vservice import VService
from sparts.vtask import RestartPolicy, VTask

SOON = RestartPolicy("on-failure", first_wait=0.001, max_wait=0.001)
LATE = RestartPolicy("on-failure", first_wait=10000.0, max_wait=10000.0)


class Scripted(AsyncioTask):
    """Does, once a run, what the test tells it: raise, return, or wait for its cancellation."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.script: list[BaseException | str] = []

    async def run(self) -> None:
        self.events.put("began")
        outcome = self.script.pop(0) if self.script else "wait"
        if isinstance(outcome, BaseException):
            raise outcome
        try:
            if outcome == "wait":
                await asyncio.Event().wait()
        finally:
            self.events.put("ended")

    def next_event(self) -> str:
        return self.events.get(timeout=WAIT)


def service_of(*tasks: type[VTask]) -> type[VService]:
    return type("Service", (VService,), {"TASKS": tasks})


def scripted(*script: BaseException | str, **attributes: Any) -> type[Scripted]:
    def init(self: Scripted) -> None:
        Scripted.initTask(self)
        self.script.extend(script)

    return type("Scripted", (Scripted,), {"initTask": init, **attributes})


def run_to_end(cls: type[VTask]) -> ServiceThread:
    """Run a service of a task that ends it, perhaps while it is still being started."""
    thread = ServiceThread(make_service(service_of(cls)))
    thread.start()
    wait_for_end(thread)
    return thread


def wait_for_end(thread: ServiceThread) -> None:
    with suppress(SpartsError):
        thread.join(WAIT)
    assert not thread.is_alive()


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

    with running(service_of(Careful)) as service:
        ident = service.requireTask(AsyncioLoopTask).threads[0].ident
        task = service.requireTask(Careful)
        task.loop_task.call(int).result(WAIT)
        assert task.state == "ALIVE"
        assert not task.threads
    assert Careful.seen == [ident, (ident, False, True)]
    assert task.state is TaskState.STOPPED
    assert not task.supervisor.n_failures()


def test_returned_run_is_done_and_service_goes_on() -> None:
    cls = scripted("return")
    done = threading.Event()

    class Service(VService):
        TASKS = (cls,)

        def initService(self) -> None:  # noqa: N802
            self.hooks.register(self)

        @hookimpl
        def sparts_task_change(self, new: TaskState) -> None:
            if new is TaskState.DONE:
                done.set()

    with running(Service) as service:
        assert done.wait(WAIT)
        assert service.requireTask(cls).state is TaskState.DONE
        assert service.health.status is ServiceStatus.ALIVE
        assert service.health.ready


def test_an_exception_in_run_ends_the_service() -> None:
    cls = scripted(ValueError("no way"))
    thread = run_to_end(cls)
    task = thread.service.requireTask(cls)
    assert thread.status == 1
    assert "Scripted failed: ValueError: no way" in str(thread.error)
    assert isinstance(task.failed, ValueError)
    assert task.supervisor.n_failures() == 1
    assert task.state is TaskState.DEAD


def test_failed_run_is_restarted_by_policy_and_counted() -> None:
    cls = scripted(ValueError("1"), OSError("2"), RESTART=SOON)
    with running_task(cls) as task:
        assert [task.next_event() for _ in range(3)] == ["began"] * 3
        assert task.supervisor.n_failures() == task.supervisor.n_restarts() == 2
        assert task.state is TaskState.ALIVE
        assert "OSError: 2" in str(task.service.getWarnings())
    assert task.next_event() == "ended"


def test_more_failures_than_policy_bears_end_service() -> None:
    policy = SOON._replace(limit=3)
    cls = scripted(*[ValueError(str(number)) for number in range(10)], RESTART=policy)
    thread = run_to_end(cls)
    task = thread.service.requireTask(cls)
    assert thread.status == 1
    assert (task.supervisor.n_failures(), task.supervisor.n_restarts()) == (4, 3)


def test_returned_run_restarts_with_policy_always() -> None:
    cls = scripted("return", "return", RESTART=SOON._replace(mode="always"))
    with running_task(cls) as task:
        events = [task.next_event() for _ in range(5)]
        assert events == ["began", "ended", "began", "ended", "began"]
        assert not task.supervisor.n_failures()


def test_task_waiting_for_restart_is_degraded_and_stops() -> None:
    cls = scripted(ValueError("no way"), RESTART=LATE)
    with running_task(cls) as task:
        assert task.next_event() == "began"
        task.loop_task.call(asyncio.sleep, 0).result(WAIT)
        assert task.state == "DEGRADED"
        assert task.service.health.status is ServiceStatus.WARNING
    assert task.events.empty()
    assert task.state is TaskState.STOPPED


def test_dependants_are_told_of_a_restart() -> None:
    cls = scripted(ValueError("no way"), RESTART=SOON)
    told: queue.SimpleQueue[VTask] = queue.SimpleQueue()

    class Dependant(VTask):
        LOOPLESS = True
        DEPS = (cls,)

        def on_dependency_restarted(self, task: VTask) -> None:
            told.put(task)

    with running(service_of(Dependant)) as service:
        assert told.get(timeout=WAIT) is service.requireTask(cls)


@pytest.mark.parametrize(
    ("leaves", "status"), [(SystemExit(3), 3), (KeyboardInterrupt(), 0), (MemoryError(), 1)]
)
def test_what_no_policy_restarts_ends_the_service(leaves: BaseException, status: int) -> None:
    cls = scripted(leaves, RESTART=SOON)
    thread = run_to_end(cls)
    task = thread.service.requireTask(cls)
    assert thread.status == status
    assert not task.supervisor.n_restarts()
    assert task.loop_task.state is TaskState.STOPPED


def test_cancellation_that_is_not_stop_is_failure() -> None:
    cls = scripted(RESTART=SOON)
    with running_task(cls) as task:
        assert task.next_event() == "began"

        def cancel() -> None:
            for other in asyncio.all_tasks():
                if other.get_name() == task.logger.name:
                    other.cancel()

        with errors_of(task.logger) as errors:
            task.loop_task.call(cancel).result(WAIT)
            assert "was cancelled, and not by the stop" in errors.get(timeout=WAIT).getMessage()
        assert [task.next_event(), task.next_event()] == ["ended", "began"]
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
        RESTART = SOON

        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("disk full")

    thread = make_service(service_of(Failing)).startBG()
    thread.service.requireTask(Failing).loop_task.call(asyncio.sleep, 0).result(WAIT)
    thread.service.shutdown()
    wait_for_end(thread)
    assert thread.status == 1
    assert "disk full" in str(thread.error)
    assert not thread.service.requireTask(Failing).supervisor.n_restarts()


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
    RESTART = SOON


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
            assert task.next_event() == "began"
            crash(task)
            assert task.next_event() == "ended"
            assert task.loop_task.supervisor.n_restarts() == number
        assert task.next_event() == "began"
        assert task.state is TaskState.ALIVE
        assert not task.supervisor.n_failures()
        assert not task.supervisor.n_restarts()
    assert task.next_event() == "ended"


def test_done_run_stays_done_after_a_loop_restart() -> None:
    cls = scripted("return", LOOP=FragileLoop)
    with running_task(cls) as task:
        assert [task.next_event(), task.next_event()] == ["began", "ended"]
        crash(task)
        assert task.state is TaskState.DONE
    assert task.events.empty()


def test_waiting_run_begins_with_its_restarted_loop() -> None:
    cls = scripted(ValueError("no way"), LOOP=FragileLoop, RESTART=LATE)
    with running_task(cls) as task:
        assert task.next_event() == "began"
        crash(task)
        assert task.next_event() == "began"
        assert task.state is TaskState.ALIVE


def test_a_task_without_run_says_so() -> None:
    thread = run_to_end(AsyncioTask)
    assert isinstance(thread.error, TaskFailedError)
    assert "AsyncioTask has nothing to do: write its run()" in str(thread.error)


def test_each_of_several_workers_is_restarted_for_itself() -> None:
    cls = scripted("return", ValueError("no way"), workers=3, RESTART=SOON)
    with running_task(cls) as task:
        events = [task.next_event() for _ in range(5)]
        assert sorted(events) == ["began"] * 4 + ["ended"]
        assert task.supervisor.n_restarts() == 1
        assert task.state is TaskState.ALIVE
        task.loop_task.call(lambda: None).result(WAIT)  # both wait by now
        assert task._format_stacks().count("in run") == 2
    assert [task.next_event(), task.next_event()] == ["ended"] * 2
