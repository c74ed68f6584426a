"""The backlogs in memory keep the contract of all backlogs."""

from __future__ import annotations

import queue
from typing import Any

import pytest
from sparts.context import ExecuteContext
from sparts.tasks.async_backlog import AsyncMemoryBacklog
from sparts.tasks.backlog import Backlog
from sparts.tasks.backlogs import PriorityBacklog, StandardBacklog, UniqueBacklog
from sparts.tasks.memory_backlog import MemoryBacklog
from sparts.testing.async_backlogs import AsyncBacklogContract
from sparts.testing.backlogs import BacklogContract


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
