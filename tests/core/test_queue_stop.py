"""QueueTask at a stop: intake closes, what waits is processed, nothing is lost without a trace."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.queue import (
    ExecuteContext,
    PriorityQueueTask,
    QueueTask,
    TryLater,
    UniqueQueueTask,
)
from sparts.testing.clock import TurnableClock
from sparts.testing.running import make_service, running, running_task, service_of

from tests.core.failing import failing
from tests.core.queue_tasks import (
    SOON,
    Deferred,
    Gated,
    all_cancelled,
    of_echo,
    of_gated,
    variant,
)
from tests.core.scripts import service as script
from tests.threads import in_threads


class HandsOver(Gated):
    """Works on its first item until what is left has been handed over."""

    STOP_TIMEOUT: ClassVar[float | None] = 0.5

    def on_dropped(self, items: Sequence[Any]) -> None:
        super().on_dropped(items)
        self.gate.put("late")


@of_echo
def test_late_put_is_an_error_that_says_why(echo: Any) -> None:
    with running_task(echo) as task:
        pass
    with pytest.raises(TaskStoppedError, match="Echo takes no more items: it is stopping"):
        task.queue.put(1)
    with pytest.raises(TaskStoppedError, match="Echo takes no more items"):
        task.submit(1)
    with pytest.raises(TaskStoppedError, match="Echo takes no more items"):
        task.map([1])


@of_gated
def test_what_is_queued_is_finished_at_a_stop(gated: Any) -> None:
    with running_task(gated) as task:
        futures = [task.submit(item) for item in range(5)]
        assert task.begun() == 0
        task.ask_to_stop()
        for item in range(5):
            task.gate.put(item)
    assert [future.result(0) for future in futures] == list(range(5))
    assert task.dropped == []
    assert task.n_completed() == 5


def test_retry_before_the_deadline_is_waited_for() -> None:
    class Once(QueueTask):
        def execute(self, item: Any, context: ExecuteContext) -> int:
            if context.attempt == 1:
                self.service.shutdown()
                self.stop_event.wait()
                raise TryLater(after=0.01)
            return context.attempt

    with running(service_of(Once)) as service:
        future = service.requireTask(Once).submit("item")
    assert future.result(0) == 2


@of_gated
def test_retry_after_the_deadline_is_dropped(gated: Any) -> None:
    cls = variant(gated, clock=TurnableClock())
    with running_task(cls) as task:
        future = task.submit("later")
        task.gate.put(TryLater(after=3600))
        task.clock.wait_for_waiters()
    assert task.dropped == ["later"]
    with pytest.raises(CancelledError):
        future.result(0)


@of_gated
def test_task_without_drain_drops_in_order(gated: Any, caplog: pytest.LogCaptureFixture) -> None:
    with running_task(variant(gated, DRAIN=False)) as task:
        futures = [task.submit(item) for item in range(4)]
        deferred = Deferred()
        task.queue.put(ExecuteContext(item=4, deferred=deferred))
        task.queue.put(5)
        assert task.begun() == 0
        task.ask_to_stop()
        task.gate.put("done")
    assert futures[0].result(0) == "done"
    assert all(future.cancelled() for future in futures[1:])
    assert all_cancelled(*futures[1:])
    assert isinstance(deferred.outcome(), CancelledError)
    assert task.dropped == [1, 2, 3, 4, 5]
    assert task.n_dropped() == 5
    assert f"Items left when {gated.__name__} had stopped: 5; the first: 1" in caplog.text


@of_gated
def test_what_was_cancelled_before_is_not_dropped(gated: Any) -> None:
    with running_task(variant(gated, DRAIN=False)) as task:
        futures = [task.submit(item) for item in range(3)]
        assert task.begun() == 0
        futures[1].cancel()
        foreign: Future[None] = Future()
        task.queue.put(ExecuteContext(item="foreign", future=foreign))
        foreign.cancel()
        foreign.set_running_or_notify_cancel()
        task.ask_to_stop()
        task.gate.put(None)
    assert task.dropped == [2]
    assert all_cancelled(*futures[1:])


def test_left_items_are_handed_over_in_time() -> None:
    with running_task(HandsOver) as task:
        futures = [task.submit(item) for item in range(3)]
        assert task.begun() == 0
    assert task.dropped == [0, 1, 2]
    assert isinstance(futures[0].exception(0), CancelledError)
    assert futures[1].cancelled()
    assert futures[2].cancelled()


def test_deadline_of_the_whole_service_counts_too() -> None:
    cls = variant(HandsOver, STOP_TIMEOUT=None)
    with running_task(cls, "--stop-timeout", "500ms") as task:
        task.queue.put(0)
        task.queue.put(1)
        assert task.begun() == 0
    assert task.dropped == [0, 1]


def test_hung_worker_is_named_and_loses_its_item() -> None:
    with failing(variant(Gated, STOP_TIMEOUT=0.3), match="Gated", status=70) as task:
        futures = [task.submit(item) for item in range(2)]
        assert task.begun() == 0
        task.service.shutdown()
    assert task.dropped == [0, 1]
    for future in futures:
        with pytest.raises(CancelledError):
            future.result(0)
    task.gate.put("very late")  # does no harm
    for worker in task.threads:
        worker.join(SOON)


def test_second_signal_does_not_lose_what_is_queued(tmp_path: Path) -> None:
    body = """
from sparts.tasks.queue import QueueTask
class Hung(QueueTask):
    def execute(self, item, context):
        say("began", item)
        threading.Event().wait()
    def stop(self):
        super().stop()
        say("stopping")
    def on_dropped(self, items):
        say("dropped", items)
class S(VService):
    TASKS = [Hung]
    def initService(self):
        for item in range(3):
            self.requireTask("Hung").queue.put(item)
"""
    with script(tmp_path, body) as process:
        process.read_until("began 0")
        process.process.send_signal(signal.SIGTERM)
        process.read_until("stopping")
        assert process.stop_again(signal.SIGTERM) == 70
    assert "dropped [0, 1, 2]" in process.output


@of_gated
def test_error_during_drain_stops_no_other_item(gated: Any) -> None:
    with failing(gated, match="broken") as task:
        for item in range(3):
            task.queue.put(item)
        assert task.begun() == 0
        task.ask_to_stop()
        task.let(ValueError("broken"), None, None)
    assert task.n_completed() == 2
    assert [item for item, _ in task.dead] == [0]


@of_gated
def test_failing_on_dropped_still_ends_futures(gated: Any) -> None:
    class Broken(gated):  # type: ignore[misc]
        DRAIN = False

        def on_dropped(self, items: Sequence[Any]) -> None:
            raise RuntimeError("nowhere to keep them")

    with failing(Broken, match="nowhere to keep them") as task:
        futures = [task.submit(item) for item in range(2)]
        task.begun()
        task.ask_to_stop()
        task.gate.put(None)
    assert futures[1].cancelled()


@of_gated
def test_queue_of_a_failed_start_is_handed_over(gated: Any) -> None:
    class Unstarted(gated):  # type: ignore[misc]
        def start(self) -> None:
            self.queue.put("early")
            raise RuntimeError("no start")

    service = make_service(service_of(Unstarted))
    with pytest.raises(Exception, match="no start"):
        service.startBG()
    assert service.requireTask(Unstarted).dropped == ["early"]


@pytest.mark.parametrize("kind", [QueueTask, PriorityQueueTask, UniqueQueueTask])
@pytest.mark.parametrize("max_items", [0, 3])
@pytest.mark.parametrize("drain", [True, False])
def test_every_item_ends_whenever_the_stop_comes(
    kind: type[QueueTask], max_items: int, drain: bool
) -> None:
    ends: Counter[int] = Counter()
    counting = threading.Lock()
    reached, when = threading.Event(), [0]

    def count(*items: int) -> None:
        with counting:
            ends.update(items)
            if len(ends) >= when[0]:
                reached.set()

    class Accountable(kind):  # type: ignore[misc, valid-type]
        WORKERS = 3
        MAX_ITEMS = max_items
        MAX_ATTEMPTS = 2
        RETRY_AFTER = 0.0001
        ON_ERROR = "log"
        DRAIN = drain

        def execute(self, item: int, context: ExecuteContext) -> None:
            if item % 7 == 0:
                raise TryLater
            if item % 11 == 0:
                raise ValueError(item)
            count(item)

        def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
            count(context.item)

        def on_dropped(self, items: Sequence[int]) -> None:
            count(*items)

    taken: list[int] = []
    futures: list[Any] = []

    def feed(task: QueueTask, items: range) -> None:
        for item in items:
            try:
                if item % 2:
                    futures.append(task.submit(item))
                else:
                    task.queue.put(item)
            except TaskStoppedError:
                return
            taken.append(item)

    for target in (1, 3, 20, 90, 200):
        for kept in (ends, taken, futures, reached):
            kept.clear()
        when[0] = target
        with ExitStack() as feeding, running_task(Accountable) as task:
            task.logger.disabled = True
            feeders = [partial(feed, task, range(n * 400, (n + 1) * 400)) for n in range(3)]
            feeding.enter_context(in_threads(*feeders))
            assert reached.wait(SOON)
        assert ends == Counter(taken)
        assert task.n_dropped() == 0 or not drain
        assert all(future.done() for future in futures)
