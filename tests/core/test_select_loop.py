"""SelectTask keeps the contract of loop tasks; its coroutines await submissions."""

from __future__ import annotations

import os
from collections.abc import Awaitable
from typing import Any

import pytest
from sparts.loops import LoopTask
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.tasks.select import ProcessFailed, SelectTask
from sparts.tasks.submission import Submission
from sparts.testing.loops import WAIT, LoopContract
from sparts.testing.running import running, running_task, service_of


class TestSelectLoop(LoopContract):
    loop_task = SelectTask

    def never(self) -> Awaitable[Any]:
        return Submission()

    def crash(self, task: LoopTask) -> None:
        assert isinstance(task, SelectTask)
        read, write = os.pipe()
        os.close(write)

        def broken(fd: int) -> None:
            task.unregister_read(fd)
            os.close(fd)
            raise ValueError("crash")

        task.register_read(read, broken)


class Double(QueueTask):
    def execute(self, item: int, context: ExecuteContext) -> int:
        return 2 * item


def test_coroutine_awaits_processes_and_items_and_other_coroutines() -> None:
    async def count(loop: SelectTask) -> int:
        done = await loop.popen_communicate(["seq", "3"])
        return len(done.stdout.split())

    async def work(loop: SelectTask, queue: QueueTask) -> int:
        with pytest.raises(ProcessFailed):
            await loop.popen_communicate(["false"])
        doubled: int = await queue.submit(await count(loop))
        return doubled

    with running(service_of(SelectTask, Double)) as service:
        loop, queue = service.requireTask(SelectTask), service.requireTask(Double)
        assert [loop.call(work, loop, queue).result(WAIT) for _ in range(20)] == [6] * 20
        assert not loop._coroutines


def test_awaiting_the_unknown_is_an_error() -> None:
    class Odd:
        def __await__(self) -> Any:
            yield "odd"

    with running_task(SelectTask) as loop:
        assert isinstance(loop.call(Odd).exception(WAIT), AttributeError)
        assert loop.call(int).result(WAIT) == 0
