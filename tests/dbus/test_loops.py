"""The loops of sparts-dbus keep the contract of loop tasks."""

from __future__ import annotations

from typing import Any

import pytest
from sparts.tasks.dbus import DBusMainLoopTask
from sparts.testing.loops import WAIT, AsyncioLoopContract
from sparts.testing.running import running, service_of

glib: Any
try:
    from sparts.tasks.dbus import glib
except ImportError:  # the mark says what happens then
    glib = None


class TestDBusMainLoop(AsyncioLoopContract):
    loop_task = DBusMainLoopTask


@pytest.mark.needs_module("gi")
class TestDBusMainLoopOfGLib(AsyncioLoopContract):
    loop_task = DBusMainLoopTask
    argv = ("--dbus-loop-glib",)


@pytest.mark.needs_module("gi")
class TestGLibMainLoop(AsyncioLoopContract):
    loop_task = getattr(glib, "GLibMainLoopTask", DBusMainLoopTask)


@pytest.mark.needs_module("gi")
@pytest.mark.parametrize(
    "argv", [("GLibMainLoopTask",), ("DBusMainLoopTask", "--dbus-loop-glib")], ids=" ".join
)
def test_default_context_of_the_thread_runs(argv: tuple[str, ...]) -> None:
    from gi.repository import GLib

    def start(done: Any) -> None:
        source = GLib.timeout_source_new(1)
        source.set_callback(lambda _: done(GLib.MainContext.ref_thread_default()))
        source.attach(GLib.MainContext.ref_thread_default())

    name, *options = argv
    with running(service_of(name), *options) as service:
        task = service.requireTask(name)

        async def wait() -> Any:
            came = task.loop.create_future()
            start(came.set_result)
            return await came

        assert task.call(wait).result(WAIT) == task.loop.context
        assert task.loop.context != GLib.MainContext.default()


@pytest.mark.needs_module("gi")
def test_the_context_of_the_glib_loop_is_told() -> None:
    with running(service_of(glib.GLibMainLoopTask)) as service:
        task = service.requireTask(glib.GLibMainLoopTask)
        assert task.context is task.loop.context
