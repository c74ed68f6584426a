"""How long the oldest item of a queue has waited, from how many had come at each sample."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any

from sparts.counters import own
from sparts.tasks.item_work import ItemWork
from sparts.tasks.tornado.status.history import EVERY, SAMPLES

if TYPE_CHECKING:
    from sparts.vservice import VService


class Arrivals:
    """Notes how many items have come to each queue of a service."""

    def __init__(self, service: VService) -> None:
        self._service = service
        self._seen: dict[str, deque[tuple[float, float]]] = {}

    def note(self) -> None:
        """Note it now; called by the sampler."""
        now = time.monotonic()
        for task in self._service.getChildren().values():
            if isinstance(task, ItemWork):
                seen = self._seen.setdefault(task.name, deque(maxlen=SAMPLES))
                seen.append((now, _taken(task) + (task.queue.depth() or 0)))

    def oldest(self, name: str) -> str:
        """Return how long the oldest waiting item of a queue has waited, for a person."""
        task: Any = self._service.getTask(name)
        if not task.queue.depth():
            return "none waits"
        taken, now = _taken(task), time.monotonic()
        for when, come in self._seen.get(name, ()):
            if come > taken:
                return f"about {now - when:.0f} s"
        return f"less than {EVERY:g} s"


def _taken(task: Any) -> float:
    running = sum(hasattr(each, "attempt") for each in list(_running(task).values()))
    return float(own(task, ItemWork.n_completed)() + own(task, ItemWork.n_dead_letters)()) + running


def _running(task: Any) -> dict[Any, Any]:
    found: dict[Any, Any] = getattr(task.queue, "_running", {})
    return found
