"""Echoes on D-Bus, by a sparts service. `async`, `def`, or `glib`: async on GLib's loop."""

from __future__ import annotations

import sys

from sparts.tasks.dbus import DBusServiceTask, dbus_method
from sparts.vservice import VService


class Async(DBusServiceTask):
    """Echoes from a coroutine."""

    BUS_NAME = "org.example.Bench"
    PATH = "/bench"

    @dbus_method
    async def Echo(self, text: str) -> str:  # noqa: N802
        """Return it."""
        return text


class Plain(DBusServiceTask):
    """Echoes from a thread."""

    BUS_NAME = "org.example.Bench"
    PATH = "/bench"

    @dbus_method
    def Echo(self, text: str) -> str:  # noqa: N802
        """Return it."""
        return text


class Service(VService):
    """Echoes."""

    TASKS = (Plain if sys.argv[1] == "def" else Async,)


glib = ["--dbus-loop-glib"] if sys.argv[1] == "glib" else []
service = Service.from_args(["--level", "ERROR", *glib, *sys.argv[2:]])
Service.initFromOptions(service.options)
