"""Periodic tasks of both kinds, in a thread and as a coroutine, that a test leads step by step."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.testing.clock import TurnableClock
from sparts.testing.running import running_task
from sparts.testing.waiting import WAIT

START = 1000.0
"""Where the tests' clock stands when the service starts."""


class Ticking(PeriodicTask):
    """A task that notes when it ran, and does in each run what the test has prepared."""

    INTERVAL: Any = 10
    clock: TurnableClock

    def initTask(self) -> None:  # noqa: N802
        """Make what the test prepares and reads."""
        super().initTask()
        self.ran: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.attempts: list[int] = []
        self.work: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def execute(self, context: ExecuteContext | None = None) -> Any:
        """Note the run, and do what is prepared."""
        assert context is not None
        self.attempts.append(context.attempt)
        work = self.work.get() if not self.work.empty() else lambda: None
        self.ran.put(self.clock.monotonic() - START)
        return work()

    def next_run(self) -> float:
        """Turn the clock to when the task is due, and give when it ran since the start."""
        self.clock.turn(START + self.waits_until() - self.clock.monotonic())
        return self.ran.get(timeout=WAIT)

    def waits_until(self) -> float:
        """When the waiting task wakes, in seconds since the start."""
        [until] = self.clock.wait_for_waiters()
        assert until is not None
        return until - START


T = TypeVar("T", bound=Ticking)


class AsyncTicking(AsyncPeriodicTask, Ticking):
    """The same as a coroutine, which may await what the test has prepared."""

    async def execute(self, context: ExecuteContext | None = None) -> Any:
        """Note the run, and do what is prepared."""
        result = Ticking.execute(self, context)
        return await result if asyncio.iscoroutine(result) else result


def ticking(kind: type[T], **attributes: Any) -> type[T]:
    """Make a task type with a clock of its own."""
    return type("Ticker", (kind,), {"clock": TurnableClock(START), **attributes})


@contextmanager
def ran_once(kind: type[T], *argv: str) -> Iterator[T]:
    """Run a service of one task that has run at the start, and waits for its next time."""
    with running_task(kind, *argv) as task:
        assert task.ran.get(timeout=WAIT) == 0
        task.waits_until()
        yield task
