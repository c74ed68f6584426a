"""`DBusTask.asyncRun` is the `call` of its loop, which keeps the contract of loops."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sparts.errors import LoopStoppedError
from sparts.tasks.dbus import DBusTask
from sparts.testing.loops import WAIT
from sparts.testing.running import running_task

from tests.dbus.daemons import Daemon
from tests.dbus.services import Greeter


class OnDBus(DBusTask):
    """Calls `asyncRun` before its loop runs."""

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.early = self.asyncRun(threading.get_ident)


async def soon(value: int, *, more: int = 0) -> tuple[int, int]:
    await asyncio.sleep(0)
    return threading.get_ident(), value + more


def test_what_is_called_runs_in_the_loop() -> None:
    with running_task(OnDBus) as task:
        loop = task.loop_task.threads[0].ident
        assert task.early.result(WAIT) == loop != threading.get_ident()
        assert task.asyncRun(threading.get_ident).result(WAIT) == loop
        assert task.asyncRun(divmod, 7, 2).result(WAIT) == (3, 1)
        assert task.asyncRun(dict, cb=1).result(WAIT) == {"cb": 1}
        assert task.asyncRun(soon, 1, more=2).result(WAIT) == (loop, 3)
    with pytest.raises(LoopStoppedError):
        task.asyncRun(int)


@pytest.mark.needs("dbus")
@pytest.mark.parametrize(
    "argv", [(), pytest.param(("--dbus-loop-glib",), marks=pytest.mark.needs_module("gi"))]
)
def test_it_reaches_bus_that_lives_on_loop(session_bus: Daemon, argv: tuple[str, ...]) -> None:
    with running_task(Greeter, *session_bus.argv, *argv) as task:
        assert task.bus is not None
        (owner,) = task.asyncRun(task.bus.ask, "GetNameOwner", "s", task.name_on_bus).result(WAIT)
        assert owner == task.unique_name
