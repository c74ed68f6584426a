"""Echoes on D-Bus, by dbus-python on GLib's loop."""

from __future__ import annotations

from typing import Any

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

base: Any = dbus.service.Object


class Echo(base):  # type: ignore[misc]
    """Echoes."""

    @dbus.service.method("org.example.Bench", in_signature="s", out_signature="s")  # type: ignore[untyped-decorator]
    def Echo(self, text: str) -> str:  # noqa: N802
        """Return it."""
        return text


DBusGMainLoop(set_as_default=True)
bus = dbus.SessionBus()
name = dbus.service.BusName("org.example.Bench", bus)
echo = Echo(bus, "/bench")
GLib.MainLoop().run()
