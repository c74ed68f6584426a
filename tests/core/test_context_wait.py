"""`ExecuteContext.wait`: waiting in ``execute``, also while a task is being stopped."""

from __future__ import annotations

import queue
from types import SimpleNamespace
from typing import Any

import pytest
from sparts.context import ExecuteContext
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.testing.running import running, running_task, service_of
from sparts.testing.waiting import WAIT
from sparts.vtask import VTask


class Waits(VTask):
    """Tells when its ``execute`` begins, and what its wait returned."""

    SECONDS = 3600.0
    after_stop = False

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.said: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def wait_in(self, context: ExecuteContext) -> None:
        self.said.put("begun")
        if self.after_stop:
            self.stop_event.wait()
        self.said.put(context.wait(self.SECONDS))


class Queue(Waits, QueueTask):
    def execute(self, item: Any, context: ExecuteContext) -> None:
        self.wait_in(context)


class Periodic(Waits, PeriodicTask):
    INTERVAL = 3600

    def execute(self, context: ExecuteContext | None = None) -> None:
        assert context is not None
        self.wait_in(context)


KINDS: list[Any] = [Queue, Periodic]


def outcome(task_class: type[VTask], **attributes: Any) -> Any:
    """Return what the wait returned in a service that is stopped meanwhile."""
    task_class = type(task_class.__name__, (task_class,), attributes)
    with running(service_of(task_class)) as service:
        task: Any = service.requireTask(task_class)
        if isinstance(task, QueueTask):
            task.queue.put("item")
        assert task.said.get(timeout=WAIT) == "begun"
        service.shutdown()
        return task.said.get(timeout=WAIT)


@pytest.mark.parametrize("kind", KINDS)
def test_stop_leaves_a_wait_its_time(kind: Any) -> None:
    assert outcome(kind, SECONDS=0.001, after_stop=True) is True


@pytest.mark.parametrize("kind", KINDS)
def test_wait_ends_when_stop_has_no_time_left(kind: Any) -> None:
    assert outcome(kind, seconds_to_stop=lambda self: 0.0) is False


@pytest.mark.parametrize(("to_stop", "granted"), [(2.0, 1.5), (100.0, 99.0)])
def test_wait_leaves_time_for_the_stop(
    to_stop: float, granted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("sparts.context.time", SimpleNamespace(sleep=slept.append))
    assert outcome(Queue, seconds_to_stop=lambda self: to_stop) is False
    assert slept == [granted]


@pytest.mark.parametrize("kind", KINDS)
def test_wait_that_is_over_before_any_stop(kind: Any) -> None:
    assert outcome(kind, SECONDS=0.0) is True


def test_context_without_a_task_waits() -> None:
    assert ExecuteContext().wait(0.001) is True


def test_waiting_item_ends_before_it_is_given_up() -> None:
    class Retries(Queue):
        STOP_TIMEOUT = 1.0

        def on_dropped(self, items: Any) -> None:
            self.said.put("dropped")

    with running_task(Retries) as task:
        future = task.submit("item")
        assert task.said.get(timeout=WAIT) == "begun"
    assert task.said.get(timeout=WAIT) is False
    assert future.result(timeout=0) is None
