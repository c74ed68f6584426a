"""A plain method that returns a coroutine is an error: nobody would await it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sparts.errors import SpartsError, TryLater
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import QueueTask
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import log_of
from sparts.vservice import VService
from sparts.vtask import VTask


async def never() -> None:
    """Stand for what would have to be awaited."""
    raise AssertionError


def later(name: str) -> Any:
    """Return a plain method that returns a coroutine."""

    def method(self: Any, *args: Any) -> Any:
        return never()

    method.__name__ = name
    return method


def one(self: Any, *args: Any) -> int:
    """Stand for any method."""
    return 1


def task_of(base: type, name: str, **body: Any) -> type[Any]:
    """Make a task type one of whose methods returns a coroutine."""
    if issubclass(base, PollerTask):
        body = {"fetch": base.fetch if base is DirectoryWatcherTask else one, **body}
    elif base is not VTask:
        body = {"execute": one, **body}
    else:
        body = {"LOOPLESS": True, **body}
    return type("Mine", (base,), {"INTERVAL": 60, **body, name: later(name)})


def failure_of(service_class: type[VService], put: bool = False) -> str:
    """Run a service until it ends by itself; return why."""
    with pytest.raises((SpartsError, TypeError)) as caught:  # noqa: PT012
        thread = make_service(service_class).startBG()
        if put:
            thread.service.requireTask("Mine").queue.put(1)
        thread.join()
    return str(caught.value)


@pytest.mark.parametrize(
    ("base", "name", "body"),
    [
        (VTask, "initTask", {}),
        (VTask, "start", {}),
        (VTask, "initTaskThread", {"LOOPLESS": False, "_runloop": one}),
        (VTask, "_runloop", {"LOOPLESS": False}),
        (PeriodicTask, "execute", {}),
        (PollerTask, "fetch", {}),
        (PollerTask, "onValueChanged", {}),
    ],
)
def test_returned_coroutine_ends_the_service(base: type, name: str, body: Any) -> None:
    why = failure_of(service_of(task_of(base, name, **body)))
    assert f"TypeError: {name} of Mine returned a coroutine, which nobody awaits." in why


@pytest.mark.parametrize("name", ["initService", "preprocessOptions", "initLogging"])
def test_returned_coroutine_of_a_service(name: str) -> None:
    why = failure_of(service_of(task_of(VTask, "other"), **{name: later(name)}))
    assert f"{name} of Service returned a coroutine" in why


@pytest.mark.parametrize("name", ["stop", "join"])
def test_returned_coroutine_while_stopping(name: str) -> None:
    def put_off(self: Any) -> Any:
        getattr(VTask, name)(self)
        return never()

    task = type("Mine", (VTask,), {"LOOPLESS": True, name: put_off})
    with (
        pytest.raises(SpartsError, match=f"{name} of Mine returned a coroutine"),
        running(service_of(task)),
    ):
        pass


async def work(self: Any, item: Any, context: Any) -> int:
    """Do the work of an item."""
    return 1


@pytest.mark.parametrize(("base", "execute"), [(QueueTask, one), (AsyncQueueTask, work)])
def test_returned_coroutine_of_work_success(base: type, execute: Any) -> None:
    service = service_of(task_of(base, "work_success", execute=execute, WORKERS=1))
    assert "work_success of Mine returned a coroutine" in failure_of(service, put=True)


@pytest.mark.parametrize("name", ["work_done", "work_retry", "work_fail", "on_dead_letter"])
def test_returned_coroutine_of_what_is_only_logged(name: str) -> None:
    def execute(self: Any, item: Any, context: Any) -> Any:
        raise TryLater(after=0)

    task = task_of(QueueTask, name, execute=execute, MAX_ATTEMPTS=2)
    with running(service_of(task)) as service, log_of(service) as log:
        service.requireTask("Mine").queue.put(1)
        log.wait_for_line(f"ERROR:Service.Mine:{name} of Mine failed")


def test_returned_coroutine_of_a_file_callback(tmp_path: Path) -> None:
    body = {"PATH": str(tmp_path), "poll": True, "IGNORE_INITIAL_FILES": False}
    task = task_of(DirectoryWatcherTask, "onFileCreated", **body)
    (tmp_path / "new").touch()
    assert "onFileCreated of Mine returned a coroutine" in failure_of(service_of(task))
