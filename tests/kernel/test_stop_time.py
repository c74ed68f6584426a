"""`VTask.seconds_to_stop`: how long a task may finish its work at a stop."""

from __future__ import annotations

from math import inf

import pytest
from sparts.kernel import lifecycle, supervision
from sparts.testing.running import running_task
from sparts.vtask import VTask


class Asks(VTask):
    """Asks before its stop, at its stop, and when the time for its work is over."""

    LOOPLESS = True
    clock = 1000.0

    def initTask(self) -> None:  # noqa: N802
        self.answers = [self.seconds_to_stop()]

    def stop(self) -> None:
        super().stop()
        self.answers.append(self.seconds_to_stop())
        Asks.clock += min(self.answers[-1], 3600.0)
        self.answers.append(self.seconds_to_stop())


@pytest.fixture(autouse=True)
def frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asks, "clock", 1000.0)
    for module in (supervision, lifecycle):
        monkeypatch.setattr(module, "monotonic", lambda: Asks.clock)


@pytest.mark.parametrize(
    ("limit", "seconds"), [("25s", 24.0), ("4s", 3.0), ("1s", 0.75), ("100ms", 0.075)]
)
def test_share_of_the_stop_timeout_is_reserved(limit: str, seconds: float) -> None:
    with running_task(Asks, "--stop-timeout", limit) as task:
        pass
    assert task.answers == pytest.approx([inf, seconds, 0.0])
    assert task.supervisor.stop_deadline is not None
    assert task.supervisor.stop_deadline > Asks.clock


def test_stop_timeout_of_the_task_counts() -> None:
    class Quick(Asks):
        STOP_TIMEOUT = 2.0

    with running_task(Quick, "--stop-timeout", "25s") as task:
        pass
    assert task.answers == pytest.approx([inf, 1.5, 0.0])


def test_stop_without_a_limit_leaves_infinite_time() -> None:
    with running_task(Asks, "--stop-timeout", "0") as task:
        pass
    assert task.answers == [inf, inf, inf]
