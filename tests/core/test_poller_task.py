"""PollerTask: reports changes, and gives the last value to every caller."""

from __future__ import annotations

import queue
import threading
from typing import Any

import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.poller import PollerTask, TryLater
from sparts.testing.clock import TurnableClock
from sparts.testing.running import running_task
from sparts.testing.waiting import Recorder
from sparts.vtask import RestartPolicy

SOON = 10


class Poller(PollerTask):
    """A poller of what the test puts into a queue."""

    INTERVAL = 60

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.source: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.told: queue.SimpleQueue[tuple[Any, Any, Any]] = queue.SimpleQueue()

    def fetch(self) -> Any:
        value = self.source.get()
        if isinstance(value, BaseException):
            raise value
        return value

    def onValueChanged(self, old: Any, new: Any) -> None:  # noqa: N802
        self.told.put((old, new, self.getValue()))


def test_changes_are_told_with_old_and_new_value() -> None:
    with running_task(Poller) as task:
        for value in (1, 1, 2, 2, 2, 1):
            task.source.put(value)
        for _ in range(5):
            task.execute_async().result(SOON)
        assert [task.told.get(timeout=SOON) for _ in range(3)] == [
            (None, 1, 1),
            (1, 2, 2),
            (2, 1, 1),
        ]
        assert task.told.empty()


def test_get_value_blocks_for_the_first_value_alone() -> None:
    with running_task(Poller) as task:
        found: queue.SimpleQueue[Any] = queue.SimpleQueue()
        waiting = threading.Thread(target=lambda: found.put(task.getValue()))
        waiting.start()
        task.source.put("first")
        assert found.get(timeout=SOON) == "first"
        waiting.join()
        assert task.getValue(timeout=0) == "first"


def test_first_value_may_be_none() -> None:
    with running_task(Poller) as task:
        task.source.put(None)
        assert task.getValue(SOON) is None
        assert task.told.empty()


def asking(task: Poller, timeout: float | None = None) -> Recorder[str]:
    """Ask for the value in a thread, and note the error that comes."""
    found = Recorder[str]()

    def ask() -> None:
        try:
            task.getValue(timeout)
        except (TimeoutError, TaskStoppedError) as error:
            found(str(error))

    threading.Thread(target=ask).start()
    return found


def test_get_value_gives_up_after_its_timeout() -> None:
    class Slow(Poller):
        clock = TurnableClock()
        RUN_AT_START = False

    with running_task(Slow) as task:
        Slow.clock.wait_for_waiters(1)
        found = asking(task, 5)
        Slow.clock.wait_for_waiters(2)
        Slow.clock.turn(5)
        assert "Slow has fetched no value within 5 s" in found.wait(1)[0]


def test_get_value_ends_with_the_task() -> None:
    class Never(Poller):
        RUN_AT_START = False

    with running_task(Never) as task:
        found = asking(task)
        task.service.shutdown()
        assert "Never ended before it had fetched a value" in found.wait(1)[0]


def test_try_later_in_fetch_keeps_the_value() -> None:
    class Flaky(Poller):
        clock = TurnableClock()

    with running_task(Flaky) as task:
        task.source.put("old")
        assert task.getValue(SOON) == "old"
        Flaky.clock.wait_for_waiters()
        task.source.put(TryLater(after=5))
        future = task.execute_async()
        Flaky.clock.wait_for_waiter_until(1005)
        assert task.getValue() == "old"
        task.source.put("new")
        Flaky.clock.turn(5)
        assert future.result(SOON) == task.getValue() == "new"


@pytest.mark.parametrize("error", [TryLater(after=0), ValueError("no")])
def test_change_that_was_not_taken_is_told_again(error: Exception) -> None:
    class Choosy(Poller):
        RESTART = RestartPolicy("on-failure", first_wait=0.001)

        def onValueChanged(self, old: Any, new: Any) -> None:  # noqa: N802
            super().onValueChanged(old, new)
            if new == 2 and self.n_iterations() < 4:
                raise error

    with running_task(Choosy) as task:
        for value in (1, 2, 2, 2, 2, 2):
            task.source.put(value)
        assert task.told.get(timeout=SOON) == (None, 1, 1)
        while task.n_iterations() < 5:
            task.execute_async().exception(SOON)
        for _ in range(2):
            assert task.told.get(timeout=SOON) == (1, 2, 2)
        while not task.told.empty():
            assert task.told.get() == (1, 2, 2)
        assert task.current_value == 2


def test_current_value_is_the_last_that_was_told() -> None:
    class Task(Poller):
        def onValueChanged(self, old: Any, new: Any) -> None:  # noqa: N802
            self.told.put((self.current_value, self.getValue(), self.fetched.is_set()))

    with running_task(Task) as task:
        assert task.current_value is None
        assert not task.fetched.is_set()
        for value in (1, 2):
            task.source.put(value)
        task.execute_async().result(SOON)
        assert task.told.get(timeout=SOON) == (None, 1, True)
        assert task.told.get(timeout=SOON) == (1, 2, True)
        assert task.fetched.wait(SOON)
        assert task.current_value == 2


def test_stop_after_a_value_leaves_the_value() -> None:
    with running_task(Poller) as task:
        task.source.put("kept")
        task.getValue(SOON)
    assert task.getValue() == "kept"
