"""Backlog: the moments that tests of tasks meet only by chance."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from sparts.context import ExecuteContext
from sparts.errors import TaskStoppedError
from sparts.tasks.memory_backlog import ArrivalBacklog

SOON = 10
"""Seconds that something which happens at once may take on a busy machine."""


class Interrupted(deque[Any]):
    """A deque before whose next append something else happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = meanwhile

    def append(self, item: Any) -> None:
        """Let the other thing happen, then append."""
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        super().append(item)


def test_item_after_the_end_is_refused() -> None:
    backlog = ArrivalBacklog("Task", 0, [])
    backlog._ready = Interrupted(backlog.give_up)
    with pytest.raises(TaskStoppedError, match="Task takes no more items"):
        backlog.put("late")
    assert backlog.give_up().dropped == []


def test_item_just_before_the_end_is_handed_over() -> None:
    backlog = ArrivalBacklog("Task", 0, [])
    backlog.put("in time")
    assert [context.item for context in backlog.give_up().dropped] == ["in time"]


def test_item_during_the_rest_is_not_missed() -> None:
    taken: list[ExecuteContext | None] = []

    class Late(ArrivalBacklog):
        """Gets an item, from a thread that has seen no idle worker, when a worker goes to rest."""

        def _rest(self, seconds: float | None = None) -> None:
            if not taken and not self._ready:
                self._ready.append(ExecuteContext(item="late"))
            super()._rest(seconds)

    backlog = Late("Task", 0, [])
    worker = threading.Thread(target=lambda: taken.append(backlog.take()), daemon=True)
    worker.start()
    worker.join(SOON)
    assert [context.item for context in taken if context] == ["late"]
