"""docs/reliability.md: when nobody is left to do it, all who wait for it get an error at once."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sparts.errors import TaskFailedError
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.event import EventTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.select import SelectTask
from sparts.testing.running import make_service, service_of
from sparts.vtask import VTask

SOON = 20
"""Seconds that something which happens at once may take on a busy machine."""


class Queue(QueueTask):
    """Fails with its first item when the test says so."""

    WORKERS = 2
    MAX_ITEMS = 1

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.go_on = threading.Event()

    def execute(self, item: Any, context: Any) -> None:
        self.go_on.wait()
        raise ValueError("broken")

    def fill(self) -> None:
        """Have both workers work on something, and something wait."""
        for item in range(3):
            self.queue.put(item)

    def break_down(self) -> None:
        """Fail."""
        self.go_on.set()


class SubmittedQueue(Queue):
    MAX_ITEMS = 0


class AsyncQueue(AsyncQueueTask):
    """Fails with its first item."""

    WORKERS = 1

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.go_on = threading.Event()

    async def execute(self, item: Any, context: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.go_on.wait)
        await self.fail()

    async def fail(self) -> None:
        """Fail in the task's own way."""
        raise ValueError("broken")

    def break_down(self) -> None:
        """Fail."""
        self.go_on.set()


class LostLoop(AsyncQueue):
    """Loses its loop."""

    async def fail(self) -> None:
        """Stop the loop."""
        self.loop_task.loop.stop()  # type: ignore[attr-defined]
        await asyncio.Event().wait()


class Event(EventTask):
    """Fails in a run for which nobody waits."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.began, self.go_on = threading.Event(), threading.Event()

    def execute(self, context: Any = None) -> Any:
        self.began.set()
        self.go_on.wait()
        raise ValueError("broken")

    def begin(self) -> None:
        """Have a run begin."""
        self.trigger()
        self.began.wait()

    def break_down(self) -> None:
        """Fail."""
        self.go_on.set()


class AsyncPeriodic(Event, AsyncPeriodicTask):
    """Fails in a run for which nobody waits."""

    INTERVAL = 3600
    RUN_AT_START = False

    async def execute(self, context: Any = None) -> Any:
        await asyncio.get_running_loop().run_in_executor(None, Event.execute, self)


class Poller(PollerTask):
    """Never has a value."""

    INTERVAL = 3600

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.go_on = threading.Event()

    def fetch(self) -> None:
        self.go_on.wait()
        raise ValueError("broken")

    def break_down(self) -> None:
        """Fail."""
        self.go_on.set()


class Select(SelectTask):
    """Fails in its loop."""

    def break_down(self) -> None:
        """Fail."""

        def fail(_: object) -> None:
            raise ValueError("broken")

        self.register_write(self._waker, fail)


def submit(task: Any) -> None:
    """Wait for an item."""
    task.submit("waits").result()


def put(task: Any) -> None:
    """Wait for room."""
    task.queue.put("waits")


def run_event(task: Any) -> None:
    """Wait for a run after the one that is under way."""
    task.execute_async().result()


def value(task: Any) -> None:
    """Wait for a value."""
    task.getValue()


def process(task: Any) -> None:
    """Wait for a process."""
    task.popen_communicate(["sleep", "3600"]).result()


def call(task: Any) -> None:
    """Wait for an item of a task that lives on a loop."""
    task.queue.put("broken")
    task.submit("waits").result()


@pytest.mark.parametrize(
    ("kind", "prepare", "wait"),
    [
        (Queue, Queue.fill, put),
        (SubmittedQueue, SubmittedQueue.fill, submit),
        (AsyncQueue, None, call),
        (LostLoop, None, call),
        (Event, Event.begin, run_event),
        (AsyncPeriodic, AsyncPeriodic.begin, run_event),
        (Poller, None, value),
        (Select, None, process),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_last_worker_ends_what_others_wait_for(
    kind: type[Any], prepare: Callable[[Any], object] | None, wait: Callable[[Any], object]
) -> None:
    told: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
    waiting = threading.Event()

    class Waiter(VTask):
        """Stops before what it waits for, since it depends on it."""

        DEPS = (kind,)

        def _runloop(self) -> None:
            task = self.service.requireTask(kind)
            if prepare is not None:
                prepare(task)
            waiting.set()
            try:
                wait(task)
            except BaseException as error:
                told.put(error)

    service = make_service(service_of(Waiter), "--stop-timeout", str(2 * SOON))
    thread = service.startBG()
    task = service.requireTask(kind)
    assert waiting.wait(SOON)
    task.break_down()
    told.get(timeout=SOON)
    with pytest.raises(TaskFailedError):
        thread.join()
    assert thread.status == 1
