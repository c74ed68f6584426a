"""QueueTask on a backlog of somebody else's: what it learns, and what is counted."""

from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from sparts.context import ExecuteContext
from sparts.errors import UsageError
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.backlog import Backlog, Leftovers, RefusedError
from sparts.tasks.memory_backlog import MemoryBacklog
from sparts.tasks.queue import QueueTask
from sparts.testing.running import make_service, running, running_task, service_of

from tests.core.queue_tasks import SOON, Gated, of_gated, variant


class Remote(MemoryBacklog):
    """Stands for one on a broker: what is left goes back there, and nobody knows how much waits."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def qsize(self) -> int:
        raise RefusedError("only the broker knows")

    def join(self) -> None:
        Backlog.join(self)

    def bury(self, context: ExecuteContext, error: BaseException) -> None:
        self.calls.append(f"bury {context.item}")

    def done(
        self, context: ExecuteContext, result: Any = None, error: BaseException | None = None
    ) -> None:
        self.calls.append(f"done {context.item} {result} {error}")
        super().done(context, result, error)

    def give_up(self) -> Leftovers:
        return Leftovers([], super().give_up().dropped)


class OnBroker(Gated):
    """Uses that."""

    DRAIN = False

    KIND: ClassVar[type[Remote]] = Remote

    def make_backlog(self) -> Backlog:
        return self.KIND(self.name, self.max_items, self.threads)

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        assert isinstance(self.queue, Remote)
        self.queue.calls.append(f"dead {context.item}")


def test_item_is_buried_before_its_hook() -> None:
    kind: type[Any] = OnBroker
    with running_task(kind) as task:
        error = ValueError("no")
        task.gate.put(1)
        assert task.submit("good").result(SOON) == 1
        task.gate.put(error)
        assert task.submit("bad").exception(SOON) is error
        assert task.queue.calls == [
            "start", "done good 1 None", "bury bad", "dead bad", "done bad None no",
        ]  # fmt: skip


def test_returned_items_are_counted_apart_and_not_dropped() -> None:
    with running_task(OnBroker) as task:
        for item in range(3):
            task.queue.put(item)
        task.begun()
        task.ask_to_stop()
        task.gate.put(None)
    assert (task.n_returned(), task.n_dropped(), task.dropped) == (2, 0, [])


def test_refused_depth_and_join_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    with running_task(OnBroker) as task:
        task.gate.put(1)
        assert task.submit("item").result(SOON) == 1
        assert "OnBroker.n_completed" in task.service.getCounters()
        assert "OnBroker.queue_depth" not in task.service.getCounters()
        assert task.queue_depth() is None
        with pytest.raises(RefusedError, match="only the broker knows"):
            task.queue.empty()
        with pytest.raises(RefusedError, match="OnBroker cannot be joined: Remote does not know"):
            task.queue.join()
    assert "left out" not in caplog.text


def test_failing_burial_still_ends_the_future(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Remote):
        def bury(self, context: ExecuteContext, error: BaseException) -> None:
            raise OSError("no broker")

    with running_task(variant(OnBroker, KIND=Broken)) as task:
        task.gate.put(ValueError("no"))
        assert isinstance(task.submit("bad").exception(SOON), ValueError)
    assert "no broker" in caplog.text


def test_items_put_together_are_added_together() -> None:
    batches: queue.SimpleQueue[Sequence[Any]] = queue.SimpleQueue()

    class Batching(Remote):
        def put_many(self, items: Any, block: bool = True, timeout: float | None = None) -> None:
            batches.put((list(items), timeout))

    with running_task(variant(OnBroker, KIND=Batching)) as task:
        task.put_many(range(3), timeout=5)
    assert batches.get() == ([0, 1, 2], 5)


def test_coroutines_need_a_backlog_for_coroutines() -> None:
    class Wrong(AsyncQueueTask):
        def make_backlog(self) -> Backlog:
            return MemoryBacklog(self.name, 0, [])

    with pytest.raises(UsageError, match=r"Wrong has no AsyncBacklog: make_backlog\(\) returned <"):
        make_service(service_of(Wrong)).startBG()


@pytest.mark.parametrize("make", ["make_backlog", "_makeQueue"])
def test_task_whose_backlog_is_none_is_refused(make: str) -> None:
    kind = variant(Gated, **{make: lambda self: None})
    with pytest.raises(UsageError, match=r"Gated has no Backlog: make_backlog\(\) returned None"):
        make_service(service_of(kind)).startBG()


@pytest.mark.parametrize("outcome", [1, ValueError("no")], ids=["result", "error"])
@of_gated
def test_future_ends_although_done_raises(
    gated: Any, outcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def done(*args: Any) -> None:
        raise OSError("no broker")

    with running_task(
        variant(gated, backlog_class=variant(gated.backlog_class, done=done))
    ) as task:
        task.let(outcome)
        assert isinstance(task.submit("item").exception(SOON), OSError)
    assert "The outcome of 'item' could not be delivered" in caplog.text


def test_one_backlog_is_made_for_all_threads() -> None:
    made: list[Backlog] = []

    class Counting(QueueTask):
        def make_backlog(self) -> Backlog:
            made.append(super().make_backlog())
            return made[-1]

        def execute(self, item: object) -> None:  # type: ignore[override]
            raise NotImplementedError

    with running(service_of(Counting)) as service:
        assert service.requireTask(Counting).queue is made[0]
    assert len(made) == 1
