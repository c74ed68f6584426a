"""QueueTask[Item, Result]: what checkers see, and what runs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.queue import PriorityQueueTask, QueueTask, UniqueQueueTask
from sparts.testing.running import running, service_of

from tests.processes import captured

TYPED = """
from typing import Any, assert_type
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.queue import ExecuteContext, QueueTask, UniqueQueueTask

class Bare(QueueTask):
    def execute(self, item: str, context: ExecuteContext) -> int:
        return len(item)

class One(QueueTask[str]):
    def execute(self, item: str, context: ExecuteContext) -> int:
        return len(item)

class Two(QueueTask[str, int]):
    def execute(self, item: str, context: ExecuteContext) -> int:
        return len(item)

class Async(AsyncQueueTask[str, int]):
    async def execute(self, item: str, context: ExecuteContext) -> int:
        return len(item)

class Unique(UniqueQueueTask[str, int]):
    pass

def check(bare: Bare, one: One, two: Two, unique: Unique, queue: QueueTask) -> None:
    assert_type(bare.submit(5).result(), Any)
    assert_type(one.submit("x").result(), Any)
    assert_type(two.submit("x").result(), int)
    assert_type(two.map(["x"]), list[int])
    assert_type(next(iter(two.imap(["x"]))), int)
    assert_type(unique.submit("x").result(), int)
    queue.submit(5)

async def wait(task: Async) -> None:
    assert_type(await task.submit("x"), int)
"""
WRONG = """
def wrong(one: One, two: Two, task: Async) -> None:
    one.submit(5)
    two.submit(5)
    two.map([5])
    two.put_many([5])
    task.submit(5)
"""


def errors_of(folder: Path, text: str) -> list[str]:
    """Give the errors that mypy finds in a module."""
    (folder / "typed.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.11", "typed.py"]
    found = captured(command, cwd=folder)
    return [line for line in found.stdout.splitlines() if ": error: " in line]


def test_checker_knows_items_and_results(tmp_path: Path) -> None:
    wrong = errors_of(tmp_path, TYPED + WRONG)
    assert len(wrong) == 5, wrong
    assert all('"int"; expected "str"' in error for error in wrong), wrong


@pytest.mark.parametrize("kind", [QueueTask, PriorityQueueTask, UniqueQueueTask])
def test_task_runs_with_any_number_of_types(kind: type[QueueTask]) -> None:
    def double(self: object, item: int, context: object) -> int:
        return 2 * item

    generic: type[QueueTask[int, int]] = kind
    one = type(kind.__name__, (kind,), {"execute": double})

    class Two(kind[int, int]):  # type: ignore[valid-type, misc]
        execute = double

    class Three(kind[int]):  # type: ignore[valid-type, misc]
        execute = double

    for task_type in (one, Two, Three):
        with running(service_of(task_type)) as service:
            assert service.requireTask(task_type).submit(4).result(10) == 8
    assert generic is kind


def test_types_are_found_at_run_time() -> None:
    class Typed(AsyncQueueTask[int, str]):
        pass

    [base] = Typed.__orig_bases__  # type: ignore[attr-defined]
    assert base.__args__ == (int, str)
