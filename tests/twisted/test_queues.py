"""Deferreds as the completions of items of queue tasks."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.queue import ExecuteContext, QueueTask
from sparts.tasks.twisted import TwistedReactorTask, deferToTask
from sparts.testing.loops import WAIT
from sparts.testing.running import running, service_of
from twisted.internet.defer import Deferred, gatherResults


class Double(QueueTask):
    MAX_ITEMS = 100
    gate: threading.Event | None = None

    def execute(self, item: int, context: ExecuteContext) -> int:
        if self.gate is not None:
            assert self.gate.wait(WAIT)
        if item < 0:
            raise ValueError("negative")
        return 2 * item


def test_defer_to_task_gives_result_in_reactors_thread() -> None:
    idents: set[int] = set()

    def note(result: Any) -> Any:
        idents.add(threading.get_ident())
        return result

    async def work(task: QueueTask) -> list[int]:
        results = [await deferToTask(task, 1).addBoth(note)]
        results += await gatherResults([deferToTask(task, n).addBoth(note) for n in range(50)])
        with pytest.raises(ValueError, match="negative"):
            await deferToTask(task, -1).addBoth(note)
        return results

    for kind in ("epoll", "asyncio"):
        with running(service_of(TwistedReactorTask, Double), "--twisted-reactor", kind) as service:
            reactor_task = service.requireTask(TwistedReactorTask)
            ident = reactor_task.threads[0].ident
            done = reactor_task.call(work, service.requireTask(Double))
            assert done.result(WAIT) == [2, *range(0, 100, 2)]
            assert idents == {ident}
            idents.clear()


def test_full_or_stopped_queue_fails_deferreds() -> None:
    class Held(Double):
        MAX_ITEMS = 1
        gate = threading.Event()

    def fill(task: QueueTask) -> Deferred[Any]:
        while not (deferred := deferToTask(task, 1)).called:
            pass
        return deferred

    with running(service_of(TwistedReactorTask, Held)) as service:
        reactor_task, task = service.requireTask(TwistedReactorTask), service.requireTask(Held)
        assert isinstance(reactor_task.call(fill, task).exception(WAIT), queue.Full)
        Held.gate.set()

    class Late(TwistedReactorTask):
        def stop(self) -> None:  # the queue, which needs it, has stopped
            self.late = self.call(deferToTask, self.service.requireTask(Needs), 1).exception(WAIT)
            super().stop()

    class Needs(Double):
        DEPS = (Late,)

    with running(service_of(Needs)) as service:
        late = service.requireTask(Late)
    assert isinstance(late.late, TaskStoppedError)


def test_cancelling_deferred_keeps_item_from_being_worked_on() -> None:
    class Held(Double):
        gate = threading.Event()
        seen: list[int] = []

        def execute(self, item: int, context: ExecuteContext) -> int:
            result = super().execute(item, context)
            self.seen.append(item)
            return result

    with running(service_of(TwistedReactorTask, Held)) as service:
        reactor_task, task = service.requireTask(TwistedReactorTask), service.requireTask(Held)
        first = reactor_task.call(deferToTask, task, 1)
        second = reactor_task.call(deferToTask, task, 2)
        reactor_task.call(int).result(WAIT)
        assert second.cancel()
        reactor_task.call(int).result(WAIT)
        Held.gate.set()
        assert first.result(WAIT) == 2
    assert Held.seen == [1]


def test_deferred_of_context_fires_in_reactors_thread() -> None:
    fired: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def put(task: QueueTask, item: int) -> None:
        deferred: Deferred[Any] = Deferred()
        deferred.addBoth(lambda result: fired.put((threading.get_ident(), result)))
        task.queue.put(ExecuteContext(item=item, deferred=deferred))

    with running(service_of(TwistedReactorTask, Double)) as service:
        reactor_task = service.requireTask(TwistedReactorTask)
        ident = reactor_task.threads[0].ident
        for item in (1, -1):
            reactor_task.call(put, service.requireTask(Double), item).result(WAIT)
            where, result = fired.get(timeout=WAIT)
            assert where == ident
            assert result == 2 or isinstance(result.value, ValueError)
