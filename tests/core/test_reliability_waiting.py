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


class Breaks(VTask):
    """Fails when the test says so."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.began, self.go_on = threading.Event(), threading.Event()

    def fail(self, *_: object) -> None:
        """Wait for that, and fail."""
        self.began.set()
        self.go_on.wait()
        raise ValueError("broken")

    def break_down(self) -> None:
        """Fail."""
        self.go_on.set()


class Queue(Breaks, QueueTask):
    WORKERS = 2
    MAX_ITEMS = 1

    def execute(self, item: Any, context: Any) -> None:
        self.fail()

    def fill(self) -> None:
        """Have both workers work on something, and something wait."""
        for item in range(3):
            self.queue.put(item)


class SubmittedQueue(Queue):
    MAX_ITEMS = 0


class AsyncQueue(Breaks, AsyncQueueTask):
    WORKERS = 1

    async def execute(self, item: Any, context: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.fail)


class LostLoop(AsyncQueue):
    async def execute(self, item: Any, context: Any) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.go_on.wait)
        asyncio.get_running_loop().stop()
        await asyncio.Event().wait()


class Event(Breaks, EventTask):
    def execute(self, context: Any = None) -> Any:
        self.fail()

    def begin(self) -> None:
        """Have a run begin, for which nobody waits."""
        self.trigger()
        self.began.wait()


class AsyncPeriodic(Event, AsyncPeriodicTask):
    INTERVAL = 3600
    RUN_AT_START = False

    async def execute(self, context: Any = None) -> Any:
        await asyncio.get_running_loop().run_in_executor(None, self.fail)


class Poller(Breaks, PollerTask):
    INTERVAL = 3600

    def fetch(self) -> None:
        self.fail()


class Select(Breaks, SelectTask):
    def break_down(self) -> None:
        super().break_down()
        self.register_write(self._waker, self.fail)


def call(task: Any) -> None:
    """Wait for an item of a task that lives on a loop."""
    task.queue.put("broken")
    task.submit("waits").result()


@pytest.mark.parametrize(
    ("kind", "prepare", "wait"),
    [
        (Queue, Queue.fill, lambda task: task.queue.put("waits")),
        (SubmittedQueue, SubmittedQueue.fill, lambda task: task.submit("waits").result()),
        (AsyncQueue, None, call),
        (LostLoop, None, call),
        (Event, Event.begin, lambda task: task.execute_async().result()),
        (AsyncPeriodic, AsyncPeriodic.begin, lambda task: task.execute_async().result()),
        (Poller, None, lambda task: task.getValue()),
        (Select, None, lambda task: task.popen_communicate(["sleep", "3600"]).result()),
    ],
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
