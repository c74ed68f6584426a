"""Services use names of our counters for their own numbers; the counters of the tasks go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sparts.counters import Sum, counters_of, labelled, own
from sparts.counters.metric import Labelled, Metric
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.event import EventTask
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import QueueTask, TryLater
from sparts.tasks.select import SelectTask
from sparts.testing.running import running_task
from sparts.testing.waiting import WAIT

WAYS = pytest.mark.parametrize("way", ["instance", "class"])


def counting(kind: type[Any], way: str, **attributes: Any) -> type[Any]:
    """Make a task type that uses every name of a counter of ours for a number of its own."""
    every = {name: value for base in kind.__mro__ for name, value in vars(base).items()}
    names = [
        name
        for name, value in every.items()
        if isinstance(value, Metric | Labelled) and not name.startswith("_")
    ]

    def init_task(self: Any) -> None:
        kind.initTask(self)
        vars(self).update(dict.fromkeys(names, 0))

    zeros = dict.fromkeys(names, 0) if way == "class" else {"initTask": init_task}
    return type(kind.__name__, (kind,), {**zeros, **attributes})


def once_put_off(calls: list[object]) -> str:
    """Be put off the first time."""
    calls.append(None)
    if len(calls) == 1:
        raise TryLater(after=0.0)
    return "done"


@WAYS
@pytest.mark.parametrize("kind", [QueueTask, AsyncQueueTask])
def test_items_are_counted_all_the_same(kind: Any, way: str) -> None:
    calls: list[object] = []

    def execute(self: Any, item: object, context: object) -> str:
        self.n_completed += 1
        return once_put_off(calls)

    async def execute_async(self: Any, item: object, context: object) -> str:
        return execute(self, item, context)

    own_execute = execute if kind is QueueTask else execute_async
    with running_task(counting(kind, way, execute=own_execute)) as task:
        assert task.submit("item").result(WAIT) == "done"
        assert task.n_completed == 2
    assert own(task, QueueTask.n_completed)() == own(task, QueueTask.n_trylater)() == 1
    assert task.service.getCounter(f"{kind.__name__}.n_completed") == 1


@WAYS
@pytest.mark.parametrize("kind", [EventTask, PeriodicTask, AsyncPeriodicTask])
def test_runs_are_counted_all_the_same(kind: Any, way: str) -> None:
    calls: list[object] = []

    def execute(self: Any) -> str:
        self.n_iterations += 1
        return once_put_off(calls)

    async def execute_async(self: Any) -> str:
        return execute(self)

    own_execute = execute_async if kind is AsyncPeriodicTask else execute
    attributes = {"execute": own_execute, "INTERVAL": 3600.0, "RUN_AT_START": False}
    with running_task(counting(kind, way, **attributes)) as task:
        assert task.execute_async().result(WAIT) == "done"
        assert task.n_iterations == 2
    assert own(task, EventTask.n_iterations)() == 2
    assert own(task, EventTask.n_try_later)() == 1


@WAYS
def test_watcher_and_poller_count_all_the_same(way: str, tmp_path: Path) -> None:
    with running_task(counting(PollerTask, way, INTERVAL=3600.0, fetch=lambda self: 5)) as poller:
        assert poller.getValue(WAIT) == 5
    (tmp_path / "file").touch()
    settings = {"PATH": str(tmp_path), "IGNORE_INITIAL_FILES": False}
    with running_task(counting(DirectoryWatcherTask, way, **settings)) as watcher:
        assert [name for name, _ in watcher.getValue(WAIT)] == ["file"]
    assert own(watcher, DirectoryWatcherTask.n_events)() == 1


@WAYS
@pytest.mark.parametrize("kind", [SelectTask, AsyncioLoopTask])
def test_loop_counts_errors_all_the_same(kind: Any, way: str) -> None:
    def fail() -> None:
        raise ValueError("in the loop")

    with running_task(counting(kind, way)) as task:
        task.post_if_open(fail)
        assert task.call(lambda: 5).result(WAIT) == 5
    assert own(task, kind.n_callback_errors)() == 1


def test_overwritten_labels_are_kept_beside() -> None:
    class Counting:
        by_kind = labelled(Sum(), "kind")

    counting = Counting()
    counting.by_kind = {}  # type: ignore[assignment]
    own(counting, Counting.by_kind).labels("a").increment()
    assert counters_of(counting)['by_kind{kind="a"}']() == 1
    assert counting.by_kind == {}  # type: ignore[comparison-overlap]


def test_counter_declared_again_takes_the_place() -> None:
    class Again(QueueTask):
        n_completed = Sum(help="Mails that were sent.")

        def execute(self, item: object, context: object) -> None:
            """Send a mail."""

    with running_task(Again) as task:
        task.submit("item").result(WAIT)
        assert own(task, QueueTask.n_completed) is task.n_completed
        assert task.n_completed() == 1
