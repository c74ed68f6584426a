"""QueueTask: items that are tried again, and those that are given up."""

from __future__ import annotations

import math
import queue
import threading
from typing import Any

import pytest
from sparts.clock import retry_delay
from sparts.tasks.queue import ExecuteContext, TryLater
from sparts.testing.clock import TurnableClock
from sparts.testing.running import make_service, running_task, service_of

from tests.core.failing import failing
from tests.core.queue_tasks import SOON, Gated, of_gated, variant
from tests.core.scripted_tasks import AT_ONCE, LATE


def timed(base: type[Any], **attributes: Any) -> type[Any]:
    """Make a task class with a clock of its own."""
    return variant(base, clock=TurnableClock(), **attributes)


@of_gated
def test_waiting_item_holds_no_worker(gated: Any) -> None:
    with running_task(timed(gated)) as task:
        clock = task.clock
        future = task.submit("later")
        task.works_on("later", TryLater(after=60))
        task.queue.put("other")
        task.works_on("other")
        assert clock.wait_for_waiters() == [clock.monotonic() + 60]
        assert task.queue_depth() == 1
        clock.turn(59)
        assert task.began.empty()
        assert clock.wait_for_waiters() == [clock.monotonic() + 1]
        clock.turn(1)
        context = task.began.get(timeout=SOON)
        assert (context.item, context.attempt) == ("later", 2)
        assert not future.done()
        task.gate.put("done")
        assert future.result(SOON) == "done"


@of_gated
def test_items_come_back_when_due(gated: Any) -> None:
    with running_task(timed(gated)) as task:
        clock = task.clock
        for item, after in (("last", 30), ("first", 10), ("second", 20)):
            task.queue.put(item)
            task.works_on(item, TryLater(after=after))
            clock.wait_for_waiters()
        for item in ("first", "second", "last"):
            clock.wait_for_waiters()
            assert task.began.empty()
            clock.turn(10)
            task.works_on(item)
        task.queue.join()


@of_gated
def test_earlier_time_is_kept_beside_a_later(gated: Any) -> None:
    with running_task(timed(gated, WORKERS=2)) as task:
        clock = task.clock
        for number, (item, after) in enumerate((("later", 60), ("sooner", 10)), 1):
            task.queue.put(item)
            task.works_on(item, TryLater(after=after))
            clock.wait_for_waiters(number)
        for item, seconds in (("sooner", 10), ("later", 50)):
            clock.turn(seconds)
            task.works_on(item)
        task.queue.join()


def test_worker_hands_on_the_time_it_keeps() -> None:
    with running_task(timed(Gated, WORKERS=2)) as task:
        clock = task.clock
        task.queue.put("later")
        task.works_on("later", TryLater(after=60))
        clock.wait_for_waiters()
        task.queue.put("one")
        task.queue.put("two")
        assert {task.begun(), task.begun()} == {"one", "two"}  # so nobody keeps the time
        task.gate.put(None)
        assert clock.wait_for_waiters() == [clock.monotonic() + 60]
        clock.turn(60)
        task.works_on("later")
        task.gate.put(None)


def test_wait_between_attempts_grows_to_limit_with_jitter() -> None:
    service = make_service(service_of(variant(Gated, RETRY_AFTER=0.1)))
    service.tasks.create(service)
    task: Any = service.requireTask("Gated")
    for attempt, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (10, 51.2), (11, 60.0), (5000, 60.0)):
        waits = {task.retry_after(ExecuteContext(attempt)) for _ in range(100)}
        assert len(waits) > 50
        assert longest * 0.9 <= min(waits) <= max(waits) <= longest


@pytest.mark.parametrize(
    ("first", "longest", "jitter"), [(1e12, 1e13, 0.1), (1.0, 30.0, 5.0), (1.0, 30.0, math.inf)]
)
def test_delay_can_be_waited_for(first: float, longest: float, jitter: float) -> None:
    for attempt in range(200):
        assert 0 <= retry_delay(attempt, first, longest, jitter) <= threading.TIMEOUT_MAX


@pytest.mark.parametrize("wait", [math.nan, -1.0])
@of_gated
def test_odd_wait_of_an_item_delays_no_other(gated: Any, wait: float) -> None:
    with running_task(variant(gated, retry_after=lambda self, context: wait)) as task:
        for item in range(2):
            future = task.submit(item)
            task.works_on(item, TryLater())
            task.works_on(item, "done")
            assert future.result(SOON) == "done"


@of_gated
def test_item_is_given_up_after_its_last_attempt(
    gated: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with running_task(variant(gated, MAX_ATTEMPTS=2, RETRY_AFTER=0.0)) as task:
        awaited = task.submit("awaited")
        error = TryLater("never")
        for _ in range(2):
            task.works_on("awaited", error)
        assert awaited.exception(SOON) is error
        task.queue.put("nobody waits")
        for _ in range(2):
            task.begun()
            task.gate.put(error)
        task.queue.join()
        assert task.dead == [("awaited", error), ("nobody waits", error)]
        assert (task.n_dead_letters(), task.n_trylater(), task.n_unhandled()) == (2, 4, 0)
        assert task.running
    assert "Gave up 'awaited' at attempt 2: TryLater: never" in caplog.text


@of_gated
def test_dead_letter_is_told_before_the_future_ends(gated: Any) -> None:
    ended: queue.SimpleQueue[bool] = queue.SimpleQueue()

    class Watching(gated):  # type: ignore[misc]
        def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
            assert context.future is not None
            ended.put(context.future.done())

    with running_task(Watching) as task:
        future = task.submit(1)
        task.gate.put(ValueError())
        assert isinstance(future.exception(SOON), ValueError)
        assert ended.get(timeout=SOON) is False


@of_gated
def test_failing_dead_letter_hook_ends_the_future(
    gated: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(gated):  # type: ignore[misc]
        def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
            raise RuntimeError("hook broken")

    with running_task(Broken) as task:
        future = task.submit(1)
        task.gate.put(ValueError())
        assert isinstance(future.exception(SOON), ValueError)
        task.gate.put(2)
        assert task.submit(2).result(SOON) == 2
    assert "hook broken" in caplog.text


@of_gated
def test_restarted_worker_keeps_its_item(gated: Any) -> None:
    with running_task(variant(gated, RESTART=AT_ONCE, RETRY_AFTER=0.0)) as task:
        task.queue.put("item")
        task.works_on("item", ValueError("broken"))
        context = task.began.get(timeout=SOON)
        assert (context.item, context.attempt) == ("item", 2)
        task.gate.put(None)
        task.queue.join()
        assert task.n_completed() == 1
        assert task.supervisor.n_restarts() == task.supervisor.n_failures() == 1
        assert task.dead == task.dropped == []


@of_gated
def test_restarted_worker_gives_up_after_last_attempt(gated: Any) -> None:
    with running_task(variant(gated, RESTART=AT_ONCE, MAX_ATTEMPTS=1)) as task:
        error = ValueError("broken")
        task.queue.put("poison")
        task.let(error, "fine")
        assert task.submit("next").result(SOON) == "fine"
        assert task.dead == [("poison", error)]


@of_gated
def test_other_workers_take_over(gated: Any) -> None:
    with running_task(variant(gated, WORKERS=2, RESTART=LATE, RETRY_AFTER=0.0)) as task:
        task.queue.put("item")
        task.works_on("item", ValueError("broken"))
        task.works_on("item")
        task.queue.join()


@of_gated
def test_crash_loop_hands_over_poison(gated: Any) -> None:
    cls = variant(gated, RESTART=AT_ONCE._replace(limit=2), RETRY_AFTER=0.0)
    with failing(cls, match="Gated failed") as task:
        task.queue.put("poison")
        for _ in range(3):
            task.begun()
            task.gate.put(ValueError("broken"))
    assert task.dropped == ["poison"]
    assert task.n_dropped() == 1


@pytest.mark.parametrize("broken", [None, "soon", ValueError("no time")], ids=str)
@of_gated
def test_broken_retry_after_counts_as_failed_attempt(gated: Any, broken: Any) -> None:
    def retry_after(self: object, context: ExecuteContext) -> Any:
        if isinstance(broken, Exception):
            raise broken
        return broken

    with running_task(variant(gated, retry_after=retry_after)) as task:
        future = task.submit("item")
        task.works_on("item", TryLater())
        assert isinstance(future.exception(SOON), type(broken) | TypeError | ValueError)
        assert task.n_dead_letters() == 1
        after = task.submit("after")
        task.works_on("after")
        after.result(SOON)


def test_broken_retry_after_keeps_the_dead_letter() -> None:
    def retry_after(self: object, context: ExecuteContext) -> float:
        raise RuntimeError("no time")

    kind = variant(Gated, retry_after=retry_after, RESTART="on-failure")
    with running_task(kind) as task:
        task.queue.put("item")
        task.works_on("item", ValueError("broken"))
        task.queue.put("after")
        task.works_on("after")
        assert [item for item, _ in task.dead] == ["item"]
