"""Echoes on D-Bus, by dasbus, which reads no annotations that are texts."""

from typing import Any

from dasbus.connection import SessionMessageBus
from dasbus.loop import EventLoop
from dasbus.server.interface import dbus_interface
from dasbus.typing import Str

interface: Any = dbus_interface


@interface("org.example.Bench")
class Echo:
    """Echoes."""

    def Echo(self, text: Str) -> Str:  # noqa: N802
        """Return it."""
        return text


bus = SessionMessageBus()
bus.publish_object("/bench", Echo())
bus.register_service("org.example.Bench")
EventLoop().run()
