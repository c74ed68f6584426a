"""A service on D-Bus for tests."""

from __future__ import annotations

import threading

from sparts.tasks.dbus import DBusServiceTask, dbus_method
from sparts.testing.running import make_service, running, service_of

__all__ = ["NAME", "PATH", "Greeter", "make_service", "running", "service_of"]

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
