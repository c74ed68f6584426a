"""The backlogs in memory keep the contract of all backlogs."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from sparts.context import ExecuteContext
from sparts.errors import TaskStoppedError
from sparts.tasks.async_backlog import AsyncMemoryBacklog
from sparts.tasks.backlog import Backlog
from sparts.tasks.backlogs import PriorityBacklog, StandardBacklog, UniqueBacklog
from sparts.tasks.memory_backlog import ArrivalBacklog, MemoryBacklog
from sparts.testing.async_backlogs import AsyncBacklogContract
from sparts.testing.backlogs import BacklogContract
from sparts.testing.waiting import WAIT


class TestMemory(BacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        return MemoryBacklog("Task", maxsize, [])


class TestPriority(BacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        return PriorityBacklog("Task", maxsize, [])


class TestUnique(BacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        return UniqueBacklog("Task", maxsize, [])


class TestStandard(BacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        return StandardBacklog("Task", queue.Queue(maxsize), [])


class TestAsync(AsyncBacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        return AsyncMemoryBacklog("Task", maxsize, [])


class Forgetful(MemoryBacklog):
    """Breaks a promise: an item that is put back is lost."""

    def put_back(self, context: ExecuteContext, seconds: float) -> bool:
        """Lose it."""
        self.done(context, "lost")
        return True


def test_contract_finds_a_backlog_that_loses_items() -> None:
    class Broken(BacklogContract):
        def make(self, maxsize: int = 0) -> Backlog:
            return Forgetful("Task", maxsize, [])

    checks: Any = Broken()
    with pytest.raises(AssertionError):
        checks.test_item_that_is_put_back_comes_again()


# -- items that come without the lock --------------------------------------------------------------


class TestArrival(BacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        return ArrivalBacklog("Task", maxsize, [])


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


def test_item_that_comes_at_the_end_is_refused() -> None:
    backlog = ArrivalBacklog("Task", 0, [])
    backlog._ready = Interrupted(backlog.give_up)
    with pytest.raises(TaskStoppedError):
        backlog.put("late")
    assert backlog.empty()


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
    worker.join(WAIT)
    assert [context.item for context in taken if context] == ["late"]
