"""A service on D-Bus for tests."""

from __future__ import annotations

import threading

import pytest
from sparts.tasks.dbus import DBusServiceTask, dbus_method
from sparts.testing.running import make_service, running, service_of

__all__ = ["LOOPS", "NAME", "PATH", "Greeter", "make_service", "running", "service_of"]

LOOPS = [
    pytest.param((), id="asyncio"),
    pytest.param(("--dbus-loop-uvloop",), id="uvloop"),
    pytest.param(("--dbus-loop-glib",), id="glib", marks=pytest.mark.needs_module("gi")),
]
"""What chooses each kind of loop."""
NAME = "org.example.Greeter"
PATH = "/org/example/Greeter"


class Greeter(DBusServiceTask):
    """Greets."""

    BUS_NAME = NAME
    RETRY_AFTER = 0.01
    RETRY_MAX_WAIT = 0.05

    def initTask(self) -> None:  # noqa: N802
        """Make the events of `Wait`."""
        super().initTask()
        self.began, self.release = threading.Event(), threading.Event()

    @dbus_method
    def Greet(self, name: str) -> str:  # noqa: N802
        """Say hello, from a thread."""
        return f"Hello, {name}"

    @dbus_method
    async def GreetSoon(self, name: str) -> str:  # noqa: N802
        """Say hello, from the loop."""
        return f"Hello, {name}"

    @dbus_method
    def Wait(self) -> str:  # noqa: N802
        """Wait to be released."""
        self.began.set()
        self.release.wait(30)
        return "released"
