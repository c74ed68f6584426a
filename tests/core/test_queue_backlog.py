"""Backlog: the moments that tests of tasks meet only by chance."""

from __future__ import annotations

import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.memory_backlog import MemoryBacklog


def test_item_after_the_end_is_refused() -> None:
    backlog = MemoryBacklog("Task", 0, [])
    backlog.put("in time")
    assert [context.item for context in backlog.give_up().dropped] == ["in time"]
    with pytest.raises(TaskStoppedError, match="Task takes no more items"):
        backlog.put("late")
    assert backlog.give_up().dropped == []
