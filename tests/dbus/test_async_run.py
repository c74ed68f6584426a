"""`DBusTask.asyncRun` is the `call` of its loop, which keeps the contract of loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sparts.errors import LoopStoppedError
from sparts.tasks.dbus import DBusTask
from sparts.testing.loops import WAIT
from sparts.testing.running import running, running_task, service_of

from tests.dbus.daemons import Daemon
from tests.dbus.services import Greeter


class OnDBus(DBusTask):
    """Calls `asyncRun` before its loop runs."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.early = self.asyncRun(threading.get_ident)


class OnGLib(OnDBus):
    LOOP = "GLibMainLoopTask"


LOOPS = [
    pytest.param((OnDBus,), id="DBusMainLoopTask"),
    pytest.param(
        (OnDBus, "--dbus-loop-glib"),
        id="DBusMainLoopTask-glib",
        marks=pytest.mark.needs_module("gi"),
    ),
    pytest.param((OnGLib,), id="GLibMainLoopTask", marks=pytest.mark.needs_module("gi")),
]
Loop = tuple[Any, ...]


@contextmanager
def on(loop: Loop) -> Iterator[OnDBus]:
    """Run a service with a task on one of the loops."""
    task_type, *argv = loop
    with running(service_of(task_type), *argv) as service:
        yield service.requireTask(task_type)


def loop_thread(task: DBusTask) -> int | None:
    return task.loop_task.threads[0].ident


async def soon(value: int, *, more: int = 0) -> tuple[int, int]:
    await asyncio.sleep(0)
    return threading.get_ident(), value + more


@pytest.mark.parametrize("loop", LOOPS)
def test_call_from_another_thread_gives_its_result(loop: Loop) -> None:
    with on(loop) as task:
        assert task.early.result(WAIT) == loop_thread(task) != threading.get_ident()
        assert task.asyncRun(threading.get_ident).result(WAIT) == loop_thread(task)
        assert task.asyncRun(divmod, 7, 2).result(WAIT) == (3, 1)
        assert task.asyncRun(dict, cb=1).result(WAIT) == {"cb": 1}
    with pytest.raises(LoopStoppedError):
        task.asyncRun(int)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_can_be_awaited_is_awaited_in_loop(loop: Loop) -> None:
    with on(loop) as task:
        assert task.asyncRun(soon, 1, more=2).result(WAIT) == (loop_thread(task), 3)


@pytest.mark.needs("dbus")
@pytest.mark.parametrize(
    "argv", [(), pytest.param(("--dbus-loop-glib",), marks=pytest.mark.needs_module("gi"))]
)
def test_it_reaches_bus_that_lives_on_loop(session_bus: Daemon, argv: tuple[str, ...]) -> None:
    with running_task(Greeter, *session_bus.argv, *argv) as task:
        assert task.bus is not None
        (owner,) = task.asyncRun(task.bus.ask, "GetNameOwner", "s", task.name_on_bus).result(WAIT)
        assert owner == task.unique_name
