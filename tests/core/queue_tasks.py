"""Queue tasks whose work the test lets go on, item by item."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import pytest
from sparts.loops import LoopBoundTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.testing.running import running_task
from sparts.testing.waiting import error_of

SOON = 10
"""Seconds that something which happens at once may take on a busy machine."""


def given(outcome: Any) -> Any:
    """Give an outcome, or raise it."""
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


class _Notes(QueueTask):
    """Notes which items are begun, left and given up."""

    gate: Any
    """Where the test puts how an item ends."""

    def initTask(self) -> None:  # noqa: N802
        """Make the notes."""
        super().initTask()
        self.began: queue.SimpleQueue[ExecuteContext] = queue.SimpleQueue()
        self.gate = queue.SimpleQueue()
        self.dropped: list[Any] = []
        self.dead: list[tuple[Any, BaseException]] = []

    def begun(self) -> Any:
        """Wait until an item is begun, and give it."""
        return self.began.get(timeout=SOON).item

    def works_on(self, item: Any, outcome: Any = None) -> None:
        """Wait until this item is begun, and say how it ends."""
        assert self.begun() == item
        self.gate.put(outcome)

    def let(self, *outcomes: Any) -> None:
        """Say how the next items end."""
        for outcome in outcomes:
            self.gate.put(outcome)

    def ask_to_stop(self) -> None:
        """Have the service stop, and wait until the task knows."""
        self.service.shutdown()
        assert self.stop_event.wait(SOON)

    def on_dropped(self, items: Sequence[Any]) -> None:
        """Keep what was left."""
        self.dropped += items

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        """Keep what was given up."""
        self.dead.append((context.item, error))


T = TypeVar("T", bound=_Notes)


class Gated(_Notes):
    """Begins an item, then waits for the test to say how it ends."""

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Give, or raise, what the test puts in the gate."""
        self.began.put(context)
        return given(self.gate.get())


class LoopGate:
    """The gate of coroutines: the test puts outcomes into it, from its thread."""

    def __init__(self, task: LoopBoundTask) -> None:
        self._task = task
        self._outcomes: asyncio.Queue[Any] = asyncio.Queue()
        self.get = self._outcomes.get

    def put(self, outcome: Any) -> None:
        """Put an outcome."""
        self._task.loop_task.call(self._outcomes.put_nowait, outcome).result(SOON)


class AsyncGated(AsyncQueueTask, _Notes):
    """Does what `Gated` does, by coroutines."""

    WORKERS = 1

    def initTask(self) -> None:  # noqa: N802
        """Make the gate."""
        super().initTask()
        self.gate = LoopGate(self)

    async def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Give, or raise, what the test puts in the gate."""
        self.began.put(context)
        return given(await self.gate.get())


class Echo(QueueTask):
    """Gives back its items, and raises those that are exceptions."""

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Give the item back."""
        return given(item)


class AsyncEcho(AsyncQueueTask):
    """Does what `Echo` does, by coroutines."""

    async def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Give the item back."""
        await asyncio.sleep(0)
        return given(item)


def all_cancelled(*futures: Future[Any]) -> bool:
    """Wait for the ends of all futures, one by one and together; whether each was cancelled."""
    assert not wait(futures, SOON).not_done
    errors = [error_of(partial(future.result, SOON)) for future in futures]
    return all(isinstance(error, CancelledError) for error in errors)


@contextmanager
def running_busy(kind: type[T]) -> Iterator[T]:
    """Run a service of one task whose worker has begun with an item, and waits for its gate."""
    with running_task(kind) as task:
        task.queue.put("running")
        assert task.begun() == "running"
        yield task


BOTH = ["threads", "coroutines"]
of_gated = pytest.mark.parametrize("gated", [Gated, AsyncGated], ids=BOTH)
"""Runs a test with a task of each kind, threads and coroutines, which waits for its gate."""
of_echo = pytest.mark.parametrize("echo", [Echo, AsyncEcho], ids=BOTH)
"""Runs a test with a task of each kind that gives back its items."""


def variant(base: type[Any], **attributes: Any) -> type[Any]:
    """Return a subclass of the same name with other attributes."""
    return type(base.__name__, (base,), attributes)


class Deferred:
    """What a Twisted deferred is to a queue task."""

    def __init__(self) -> None:
        self.called = False
        self.outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def callback(self, result: Any) -> None:
        """Take a result."""
        self.called = True
        self.outcomes.put(result)

    def errback(self, error: BaseException) -> None:
        """Take an exception."""
        self.called = True
        self.outcomes.put(error)

    def outcome(self) -> Any:
        """Wait for whichever comes."""
        return self.outcomes.get(timeout=SOON)
