"""Queue tasks of these tests, and services that have them."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from sparts.options import prefix_of
from sparts.tasks.amqp.async_queue import AsyncAMQPQueueTask
from sparts.tasks.amqp.queue import AMQPQueueTask, ExecuteContext
from sparts.testing.running import running_task
from sparts.testing.waiting import wait_ready
from sparts.vservice import VService
from sparts.vtask import VTask

SOON = 30.0
"""Seconds after which something that should happen soon is taken never to happen."""


def until(come: Callable[[], object], what: str, timeout: float = SOON) -> None:
    """Look again and again: a broker tells nobody of what is in its queues."""
    deadline = time.monotonic() + timeout
    while not come():
        assert time.monotonic() < deadline, f"Waited {timeout:g} s for {what}"
        time.sleep(0.01)


class Seen:
    """What a task has been given."""

    def __init__(self, service: VService) -> None:
        super().__init__(service)  # type: ignore[call-arg]
        self.seen: queue.SimpleQueue[Any] = queue.SimpleQueue()


class Echo(Seen, AMQPQueueTask):
    """Hands out each item, and returns it."""

    WORKERS = 2

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Do it."""
        self.seen.put((item, context.attempt))
        return item


class Producer(Echo):
    """Puts items in, and works on none."""

    WORKERS = 0


class Gated(Echo):
    """Works on an item until the test opens the gate."""

    WORKERS = 1

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self.gate = threading.Event()

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Do it."""
        super().execute(item, context)
        assert self.gate.wait(SOON)
        return item


class AsyncEcho(Seen, AsyncAMQPQueueTask):
    """Hands out each item, and returns it."""

    WORKERS = 2

    async def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Do it."""
        self.seen.put((item, context.attempt))
        return item


def serving(task: type[VTask], *words: str) -> contextlib.AbstractContextManager[Any]:
    """Run a service of one task, and give the task."""
    return running_task(task, "--level", "DEBUG", *words)


@contextlib.contextmanager
def working(task: type[AMQPQueueTask], url: str, name: str, *words: str) -> Iterator[Any]:
    """Run a service whose task works on a queue of a broker."""
    kind: Any = type(task.__name__, (task,), {"QUEUE": name, "__module__": task.__module__})
    prefix = prefix_of(kind)
    with serving(kind, f"--{prefix}-broker", url, *words) as started:
        wait_ready(started.service)
        yield started
