"""Queue tasks whose work the test lets go on, item by item."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

from sparts.tasks.queue import ExecuteContext, QueueTask

SOON = 10
"""Seconds that something which happens at once may take on a busy machine."""


class Gated(QueueTask):
    """Begins an item, then waits for the test to say how it ends."""

    def initTask(self) -> None:  # noqa: N802
        """Make the gates."""
        super().initTask()
        self.began: queue.SimpleQueue[ExecuteContext] = queue.SimpleQueue()
        self.gate: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.dropped: list[Any] = []
        self.dead: list[tuple[Any, BaseException]] = []

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Give, or raise, what the test puts in the gate."""
        self.began.put(context)
        outcome = self.gate.get()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def begun(self) -> Any:
        """Wait until an item is begun, and give it."""
        return self.began.get(timeout=SOON).item

    def on_dropped(self, items: Sequence[Any]) -> None:
        """Keep what was left."""
        self.dropped += items

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        """Keep what was given up."""
        self.dead.append((context.item, error))


class Echo(QueueTask):
    """Gives back its items, and raises those that are exceptions."""

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Give the item back."""
        if isinstance(item, BaseException):
            raise item
        return item


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
