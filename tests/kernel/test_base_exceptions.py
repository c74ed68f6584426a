"""What is raised in execute and is no Exception: one rule for all tasks that have an execute."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.event import EventTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.testing.running import running_task
from sparts.vtask import RestartPolicy, TryLater, VTask

from tests.core.failing import failing

SOON = 10
"""Seconds that something which happens at once may take on a busy machine."""


class Own(BaseException):
    """An exception of your own."""


def act(outcome: Any) -> Any:
    """Raise what is an exception, return anything else."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


class Queue(QueueTask):
    def execute(self, item: Any, context: Any) -> Any:
        return act(item)


class AsyncQueue(AsyncQueueTask):
    async def execute(self, item: Any, context: Any) -> Any:
        return act(item)


class Runs(EventTask):
    """Takes what its runs do from the test, which learns when one has begun."""

    outcomes: queue.SimpleQueue[Any]
    began: queue.SimpleQueue[None]

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.outcomes, self.began = queue.SimpleQueue(), queue.SimpleQueue()

    def execute(self, context: Any = None) -> Any:
        self.began.put(None)
        return act(self.outcomes.get_nowait())


class Event(Runs):
    pass


class Periodic(Runs, PeriodicTask):
    INTERVAL = 3600
    RUN_AT_START = False


class AsyncPeriodic(Runs, AsyncPeriodicTask):
    INTERVAL = 3600
    RUN_AT_START = False

    async def execute(self, context: Any = None) -> Any:
        return Runs.execute(self, context)


KINDS: list[type[VTask]] = [Queue, AsyncQueue, Event, Periodic, AsyncPeriodic]
ERRORS: list[Callable[[], BaseException]] = [asyncio.CancelledError, GeneratorExit, Own]


def run(task: Any, outcome: Any) -> Future[Any]:
    """Have a task run once, with somebody waiting."""
    if isinstance(task, QueueTask):
        return task.submit(outcome)
    task.outcomes.put(outcome)
    return task.execute_async()  # type: ignore[no-any-return]


def run_unawaited(task: Any, outcome: Any) -> None:
    """Have a task run once, with nobody waiting."""
    if isinstance(task, QueueTask):
        task.queue.put(outcome)
        return
    task.outcomes.put(outcome)
    task.trigger()
    task.began.get(timeout=SOON)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_awaited_base_exception_does_not_end_the_service(
    kind: type[VTask], error: Callable[[], BaseException]
) -> None:
    with running_task(kind) as task:
        failed = run(task, error()).exception(SOON)
        assert isinstance(failed, error) or "cancelled" in str(failed)  # type: ignore[arg-type]
        assert run(task, "fine").result(SOON) == "fine"
        assert task.supervisor.n_failures() == 0


@pytest.mark.parametrize("error", [*ERRORS, ValueError])
@pytest.mark.parametrize("kind", KINDS)
def test_logged_base_exception_does_not_end_the_service(
    kind: type[VTask], error: Callable[[], BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    logging: type[VTask] = type(kind.__name__, (kind,), {"ON_ERROR": "log"})
    with running_task(logging) as task:
        run_unawaited(task, error())
        assert run(task, "fine").result(SOON) == "fine"
        assert task.supervisor.n_failures() == 0
    assert error.__name__ in caplog.text


@pytest.mark.parametrize("error", [*ERRORS, ValueError])
@pytest.mark.parametrize("kind", KINDS)
def test_base_exception_that_nobody_awaits_ends_the_service(
    kind: type[VTask], error: Callable[[], BaseException]
) -> None:
    with failing(kind, match="failed") as task:
        run_unawaited(task, error())


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("kind", KINDS)
def test_worker_is_restarted_after_a_base_exception(
    kind: type[VTask], error: Callable[[], BaseException]
) -> None:
    policy = RestartPolicy("on-failure", first_wait=0.0)
    attributes = {"RESTART": policy, "MAX_ATTEMPTS": 1}
    restarted: type[VTask] = type(kind.__name__, (kind,), attributes)
    with running_task(restarted) as task:
        run_unawaited(task, error())
        assert run(task, "fine").result(SOON) == "fine"


@pytest.mark.parametrize("kind", [Queue, AsyncQueue, Event, Periodic])
def test_memory_error_always_ends_the_service(kind: type[VTask]) -> None:
    logging: type[VTask] = type(kind.__name__, (kind,), {"ON_ERROR": "log"})
    with failing(logging, match="MemoryError") as task:
        assert isinstance(run(task, MemoryError()).exception(SOON), MemoryError)


class Tries(Queue):
    """Says "again" once to an item of this name."""

    def execute(self, item: Any, context: Any) -> Any:
        if item == "again" and context.attempt == 1:
            raise TryLater(after=0.0)
        return act(item)


@pytest.mark.parametrize("error", [Own, SystemExit])
@pytest.mark.parametrize(
    ("name", "item"),
    [
        ("work_done", "fine"),
        ("work_retry", "again"),
        ("work_fail", ValueError()),
        ("on_dead_letter", ValueError()),
    ],
)
def test_item_ends_although_a_callback_raises(
    name: str, item: object, error: Callable[[], BaseException]
) -> None:
    tries: type[Tries] = type("Tries", (Tries,), {name: lambda *_: act(error())})
    with running_task(tries) as task:
        failed = task.submit(item).exception(SOON)
        assert failed is (item if isinstance(item, ValueError) else None)
        if error is SystemExit:
            assert task.service._instance.health.wait_stopping(SOON)
        else:
            assert task.submit("fine").result(SOON) == "fine"


def test_callback_of_a_future_ends_no_service() -> None:
    gate, called = threading.Event(), threading.Event()

    def call(_: Future[Any]) -> None:
        called.set()
        raise Own

    waits: type[Queue] = type("Waits", (Queue,), {"execute": lambda self, item, _: item.wait(SOON)})
    with running_task(waits) as task:
        task.submit(gate).add_done_callback(call)
        gate.set()
        assert called.wait(SOON)
        assert task.submit(gate).result(SOON)


def test_worker_that_asks_for_exit_has_not_failed() -> None:
    class Leaves(VTask):
        def _runloop(self) -> None:
            raise SystemExit(0)

    with running_task(Leaves) as task:
        assert task.service._instance.health.wait_stopping(SOON)
    assert task.state == "STOPPED"
