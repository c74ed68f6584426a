"""`DBusTask.asyncRun` is `call`, on every loop that D-Bus can live on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import pytest
from sparts.errors import LoopStoppedError
from sparts.tasks.dbus import DBusTask
from sparts.testing.loops import WAIT
from sparts.testing.running import make_service, running, running_task, service_of

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


def fail(text: str) -> None:
    raise ValueError(text)


async def fail_soon(text: str) -> None:
    await asyncio.sleep(0)
    fail(text)


@pytest.mark.parametrize("loop", LOOPS)
def test_call_from_another_thread_gives_its_result(loop: Loop) -> None:
    with on(loop) as task:
        assert loop_thread(task) != threading.get_ident()
        assert task.asyncRun(threading.get_ident).result(WAIT) == loop_thread(task)
        assert task.asyncRun(divmod, 7, 2).result(WAIT) == (3, 1)
        assert task.asyncRun(dict, cb=1).result(WAIT) == {"cb": 1}


@pytest.mark.parametrize("loop", LOOPS)
def test_what_can_be_awaited_is_awaited_in_loop(loop: Loop) -> None:
    with on(loop) as task:
        assert task.asyncRun(soon, 1, more=2).result(WAIT) == (loop_thread(task), 3)


@pytest.mark.parametrize("loop", LOOPS)
def test_call_in_the_loop_runs_later(loop: Loop) -> None:
    ran: list[str] = []

    def ask(task: DBusTask) -> Future[None]:
        futures = [task.asyncRun(ran.append, name) for name in ("one", "two")]
        assert not any(future.done() for future in futures)
        ran.append("zero")
        return futures[-1]

    async def wait(task: DBusTask) -> tuple[int, int]:
        return await asyncio.wrap_future(task.asyncRun(soon, 5))

    with on(loop) as task:
        task.asyncRun(ask, task).result(WAIT).result(WAIT)
        assert ran == ["zero", "one", "two"]
        assert task.asyncRun(wait, task).result(WAIT) == (loop_thread(task), 5)


@pytest.mark.parametrize("loop", LOOPS)
def test_error_goes_to_its_future_alone(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def from_the_loop(task: DBusTask) -> None:
        await asyncio.wrap_future(task.asyncRun(fail_soon, "three"))

    with on(loop) as task:
        for fn, args, text in (
            (fail, ("one",), "one"), (fail_soon, ("two",), "two"),
            (from_the_loop, (task,), "three"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=text):
                task.asyncRun(fn, *args).result(WAIT)
            assert task.asyncRun(int, 7).result(WAIT) == 7
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("loop", LOOPS)
def test_its_future_can_be_cancelled(loop: Loop) -> None:
    began, cancelled = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    with on(loop) as task:
        future = task.asyncRun(wait)
        assert began.wait(WAIT)
        assert future.cancel()
        assert cancelled.wait(WAIT)
        with pytest.raises(CancelledError):
            future.result(WAIT)


@pytest.mark.parametrize("loop", LOOPS)
def test_call_waits_for_the_loop_or_is_refused(loop: Loop) -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with on(loop) as task:
        assert task.early.result(WAIT) == loop_thread(task)
        unfinished = task.asyncRun(forever)
    with pytest.raises(LoopStoppedError):
        unfinished.result(WAIT)
    with pytest.raises(LoopStoppedError):
        task.asyncRun(int)


@pytest.mark.parametrize("loop", LOOPS)
def test_system_exit_in_it_ends_service_in_order(loop: Loop) -> None:
    def leave() -> None:
        raise SystemExit(3)

    task_type, *argv = loop
    service = make_service(service_of(task_type), *argv)
    thread = service.startBG()
    future = service.requireTask(task_type).asyncRun(leave)
    assert isinstance(future.exception(WAIT), SystemExit)
    thread.join(WAIT)
    assert thread.status == 3


@pytest.mark.needs("dbus")
@pytest.mark.parametrize(
    "argv", [(), pytest.param(("--dbus-loop-glib",), marks=pytest.mark.needs_module("gi"))]
)
def test_it_reaches_bus_that_lives_on_loop(session_bus: Daemon, argv: tuple[str, ...]) -> None:
    address = ("--dbus-address", session_bus.address)
    with running_task(Greeter, *address, *argv) as task:
        assert task.bus is not None
        (owner,) = task.asyncRun(task.bus.ask, "GetNameOwner", "s", task.name_on_bus).result(WAIT)
        assert owner == task.unique_name
