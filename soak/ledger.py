"""What was handed to the service and what became of it, over all its instances in one process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

_lock = threading.Lock()
_handed: Counter[str] = Counter()
_done: Counter[str] = Counter()
_left: Counter[str] = Counter()


def handed(task: str, items: int = 1) -> None:
    """Note that items were taken on by a task; call it before they are put in."""
    with _lock:
        _handed[task] += items


def refused(task: str) -> None:
    """Take back one `handed`: the task did not take the item on, and its giver knows."""
    with _lock:
        _handed[task] -= 1


def done(task: str) -> None:
    """Note that a task has done an item."""
    with _lock:
        _done[task] += 1


def left(task: str, items: Sequence[Any]) -> None:
    """Note the items that a stop left to a task."""
    with _lock:
        _left[task] += len(items)


def read() -> dict[str, dict[str, int]]:
    """Give for each task how many items were taken on, done and left."""
    with _lock:
        return {
            name: {"handed": count, "done": _done[name], "left": _left[name]}
            for name, count in sorted(_handed.items())
        }
