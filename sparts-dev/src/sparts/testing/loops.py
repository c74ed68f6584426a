"""The contract of loop tasks, as tests that the tests of any loop inherit.

    class TestMyLoop(LoopContract):
        loop_task = MyLoopTask
        ...

pytest runs the methods; so does unittest, with `unittest.TestCase` as a further base.
"""

# ruff: noqa: S101 - the assertions of tests

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from sparts.errors import LoopStoppedError, SpartsError, StartError
from sparts.loops import LoopTask
from sparts.states import TaskState
from sparts.supervision import RestartPolicy
from sparts.testing.loop_calls import Bound, LoopCalls, errors_of, switches_of
from sparts.testing.waiting import WAIT, error_of, no_further_threads
from sparts.vtask import VTask

__all__ = [
    "WAIT", "AsyncioLoopContract", "Bound", "LoopCalls", "LoopContract", "errors_of",
    "switches_of",
]  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class LoopContract(LoopCalls):
    """What holds for every loop. Override `loop_task`, `never` and `crash`."""

    # -- the end -----------------------------------------------------------------------------------

    def test_a_call_after_the_end_raises(self) -> None:
        """`LoopStoppedError`, at once."""
        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
        assert isinstance(error_of(lambda: task.call(int)), LoopStoppedError)

    def test_calls_that_never_end_are_ended_by_the_stop(self) -> None:
        """`LoopStoppedError`, through the future."""
        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            futures = [task.call(self.never) for _ in range(10)]
            futures += [task.call(self.wait_forever) for _ in range(10)]
        assert all(isinstance(future.exception(WAIT), LoopStoppedError) for future in futures)

    def test_no_call_begins_once_the_loop_winds_down(self) -> None:
        """Each that is too late ends with `LoopStoppedError`."""
        seen: list[bool] = []
        futures: list[concurrent.futures.Future[None]] = []

        def call_again(task: LoopTask) -> None:
            seen.append(task.open)
            futures.append(task.call(call_again, task))

        with self.running(self.loop_task) as service:
            service.requireTask(self.loop_task).call(call_again, service.tasks[0]).result(WAIT)
        assert all(seen)
        assert isinstance(futures[-1].exception(WAIT), LoopStoppedError)

    def test_every_call_during_the_stop_ends_or_raises(self) -> None:
        """Whatever the moment: no caller hangs."""
        futures: list[concurrent.futures.Future[int]] = []

        def call_on(task: LoopTask) -> None:
            with contextlib.suppress(LoopStoppedError):
                while True:
                    futures.append(task.call(int))
                    futures[-1].exception(WAIT)

        with self.running(self.loop_task) as service:
            task = service.requireTask(self.loop_task)
            threads = [threading.Thread(target=call_on, args=(task,)) for _ in range(8)]
            for thread in threads:
                thread.start()
        for thread in threads:
            thread.join(WAIT)
            assert not thread.is_alive()
        for future in futures:
            error = future.exception(WAIT)
            assert error is None or isinstance(error, LoopStoppedError)

    def test_a_start_that_fails_elsewhere_ends_calls_to_a_loop_that_never_ran(self) -> None:
        """What was put in early ends, and no stop is called where no start was."""
        futures: list[concurrent.futures.Future[int]] = []

        class Failing(Bound):
            def initTask(self) -> None:  # noqa: N802
                super().initTask()
                futures.append(self.loop_task.call(int))

        class Fails(VTask):
            LOOPLESS = True

            def initTask(self) -> None:  # noqa: N802
                raise ValueError("no disk")

        loop_task, bound = self.tasks(Failing)
        service = self.make(loop_task, bound, Fails)
        error = error_of(service.startBG)
        assert isinstance(error, StartError)
        assert "no disk" in str(error)
        assert isinstance(futures[0].exception(WAIT), LoopStoppedError)
        assert service.requireTask(bound).events.empty()

    def test_a_loop_that_never_comes_to_run_fails_the_start(self) -> None:
        """The start ends with an error instead of waiting."""

        def fail(self: LoopTask) -> None:
            raise ValueError("no descriptors")

        loop_task, bound = self.tasks(_runloop=fail)
        assert isinstance(error_of(self.make(loop_task, bound).startBG), SpartsError)

    def test_system_exit_in_a_call_ends_the_service_in_order_with_its_code(self) -> None:
        """Plain or awaited; the bound task still stops in the loop."""

        def leave() -> None:
            raise SystemExit(3)

        async def leave_later() -> None:
            leave()

        for action in (lambda task: task.call(leave), lambda task: task.call(leave_later)):
            status, error, events = self._end_by(action)
            assert (status, error, events) == (3, None, ["start", "stop"])

    def test_keyboard_interrupt_in_a_call_ends_the_service_in_order(self) -> None:
        """As ^C does."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        status, error, events = self._end_by(lambda task: task.call(interrupt))
        assert (status, error, events) == (0, None, ["start", "stop"])

    def test_system_exit_that_only_the_loop_catches_ends_the_service_in_order(self) -> None:
        """From a callback that is no call."""

        def leave() -> None:
            raise SystemExit(3)

        status, error, events = self._end_by(lambda task: task.call(task._post, leave))
        assert (status, error, events) == (3, None, ["start", "stop"])

    def _end_by(
        self, action: Callable[[LoopTask], object], bound: type[Bound] = Bound, **loop: Any
    ) -> tuple[int, object, list[str]]:
        """End a service by ``action``; return its status, error and what its bound task saw."""
        loop_task, bound = self.tasks(bound, **loop)
        service = self.make(loop_task, bound)
        thread = service.startBG()
        task: Bound = service.requireTask(bound)
        action(task.loop_task)
        with contextlib.suppress(SpartsError):
            thread.join(WAIT)
        assert not thread.is_alive()
        events = []
        while not task.events.empty():
            events.append(task.events.get())
        return thread.status, thread.error, events

    # -- failure and restart -----------------------------------------------------------------------

    def test_a_loop_that_fails_ends_its_calls_and_the_service(self) -> None:
        """Bound tasks are not stopped in a loop that is gone."""
        pending: list[concurrent.futures.Future[Any]] = []

        def crash(task: LoopTask) -> None:
            pending.append(task.call(self.never))
            task.call(self.crash, task)

        status, error, events = self._end_by(crash)
        assert (status, events) == (1, ["start"])
        assert self.loop_task.__name__ in str(error)
        assert isinstance(pending[0].exception(WAIT), LoopStoppedError)

    def test_a_restarted_loop_starts_its_bound_tasks_again(self) -> None:
        """Again and again, in the same thread; calls meanwhile wait."""
        policy = RestartPolicy("on-failure", first_wait=0.001)
        loop_task, bound = self.tasks(RESTART=policy)
        with self.running(loop_task, bound) as service:
            task: Bound = service.requireTask(bound)
            assert task.next_event() == "start"
            for number in (1, 2, 3):
                pending = task.loop_task.call(self.never)
                task.loop_task.call(self.crash, task.loop_task)
                assert isinstance(pending.exception(WAIT), LoopStoppedError)
                assert task.loop_task.call(int, "7").result(WAIT) == 7
                assert task.next_event() == "start"
                assert task.loop_task.supervisor.n_restarts() == number
            assert task.loop_task.state is TaskState.ALIVE
        assert task.next_event() == "stop"
        assert task.events.empty()
        assert len(task.idents) == 1

    def test_a_bound_task_that_fails_to_start_again_ends_the_service(self) -> None:
        """Its error is the service's."""

        class Once(Bound):
            def start_in_loop(self) -> None:
                super().start_in_loop()
                if self.loop_task.supervisor.n_restarts():
                    raise ValueError("port taken")

        policy = RestartPolicy("on-failure", first_wait=0.001)
        status, error, events = self._end_by(
            lambda task: task.call(self.crash, task), Once, RESTART=policy
        )
        assert status == 1
        assert "Once failed: ValueError: port taken" in str(error)
        assert events == ["start", "start", "stop"]

    def test_a_stop_does_not_wait_for_the_restart_of_a_loop(self) -> None:
        """The wait ends, the loop does not run again, and calls end."""
        policy = RestartPolicy("on-failure", first_wait=10000.0, max_wait=10000.0)
        loop_task, bound = self.tasks(RESTART=policy)
        with self.running(loop_task, bound) as service:
            task: Bound = service.requireTask(bound)
            pending = task.loop_task.call(self.never)
            task.loop_task.call(self.crash, task.loop_task)
            assert isinstance(pending.exception(WAIT), LoopStoppedError)
            waiting = task.loop_task.call(int)
        assert isinstance(waiting.exception(WAIT), LoopStoppedError)
        assert task.next_event() == "start"
        assert task.events.empty()

    def test_a_bound_task_that_is_stopped_during_a_restart_does_not_start_again(self) -> None:
        """Nor is it stopped in a loop in which it was not started."""

        class Stopped(Bound):
            def on_dependency_restarted(self, task: VTask) -> None:
                super().on_dependency_restarted(task)
                self.service.shutdown()
                assert self.stop_event.wait(WAIT)

            def stop(self) -> None:
                with contextlib.suppress(LoopStoppedError):
                    self.loop_task.call(int).result(WAIT)  # the loop runs again
                super().stop()

        policy = RestartPolicy("on-failure", first_wait=0.001)
        loop_task, bound = self.tasks(Stopped, RESTART=policy)
        with self.running(loop_task, bound) as service:
            task: Bound = service.requireTask(bound)
            task.loop_task.call(self.crash, task.loop_task)
            assert task.stop_event.wait(WAIT)
        assert task.next_event() == "start"
        assert task.events.empty()

    # -- bound tasks -------------------------------------------------------------------------------

    def test_a_bound_task_starts_and_stops_in_the_loop_which_waits_for_its_stop(self) -> None:
        """A stop that awaits is awaited."""

        class Careful(Bound):
            async def stop_in_loop(self) -> None:
                await self.loop_task_turn()
                self.note("stop")
                assert self.loop_task.open
                assert self.state is TaskState.STOPPING

            async def loop_task_turn(self) -> None:
                """Give the loop the opportunity to end too early."""

        with self.running(*self.tasks(Careful)) as service:
            task: Bound = service.requireTask("Careful")
            ident = self.ident_of(task.loop_task)
        assert [task.next_event(), task.next_event()] == ["start", "stop"]
        assert task.idents == {ident}

    def test_a_bound_task_that_fails_to_start_fails_the_start_and_is_stopped(self) -> None:
        """It may have begun something that has to be ended."""

        class Failing(Bound):
            async def start_in_loop(self) -> None:
                self.note("start")
                raise ValueError("port taken")

        loop_task, bound = self.tasks(Failing)
        service = self.make(loop_task, bound)
        error = error_of(service.startBG)
        assert "start of Failing failed: ValueError: port taken" in str(error)
        task = service.requireTask(bound)
        assert [task.next_event(), task.next_event()] == ["start", "stop"]

    def test_a_stop_does_not_wait_for_a_bound_task_that_never_starts(self) -> None:
        """What it awaits is cancelled, and it is stopped."""
        waits, cancelled = threading.Event(), threading.Event()
        never = self.never

        class Hanging(Bound):
            async def start_in_loop(self) -> None:
                self.note("start")
                waits.set()
                try:
                    await never()
                finally:
                    cancelled.set()

        loop_task, bound = self.tasks(Hanging)
        service = self.make(loop_task, bound)
        starter = threading.Thread(target=lambda: error_of(service.startBG))
        starter.start()
        assert waits.wait(WAIT)
        service.shutdown()
        starter.join(WAIT)
        assert service.join(WAIT)
        assert cancelled.wait(WAIT)
        task = service.requireTask(bound)
        assert [task.next_event(), task.next_event()] == ["start", "stop"]

    def test_a_bound_task_that_fails_to_stop_makes_the_status_1(self) -> None:
        """The loop still ends in order."""

        class Failing(Bound):
            async def stop_in_loop(self) -> None:
                raise ValueError("disk full")

        loop_task, bound = self.tasks(Failing)
        thread = self.make(loop_task, bound).startBG()
        thread.service.shutdown()
        error = error_of(thread.join)
        assert thread.status == 1
        assert "disk full" in str(error)
        assert thread.service.requireTask(loop_task).state is TaskState.STOPPED


class AsyncioLoopContract(LoopContract):
    """What holds for every loop that is an asyncio loop. Override `loop_task`."""

    def never(self) -> Awaitable[Any]:
        """See `LoopContract.never`."""
        import asyncio

        return asyncio.get_running_loop().create_future()

    def crash(self, task: Any) -> None:
        """See `LoopContract.crash`."""
        task.loop.stop()

    def test_a_stop_that_gets_no_further_thread_is_in_order(self) -> None:
        """The threads of the loop's executor end without another one that waits for them."""
        import asyncio

        thread = self.make(self.loop_task).startBG()
        thread.service.requireTask(self.loop_task).call(asyncio.to_thread, int).result(WAIT)
        with no_further_threads():
            thread.service.shutdown()
            thread.join(WAIT)
        assert thread.status == 0
