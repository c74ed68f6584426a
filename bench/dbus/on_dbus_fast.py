"""Echoes on D-Bus, by dbus-fast alone, on asyncio. `async` or `def`: what the method is."""

from __future__ import annotations

import asyncio
import sys

from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method


class Async(ServiceInterface):
    """Echoes from a coroutine."""

    @dbus_method()
    async def Echo(self, text: "s") -> "s":  # type: ignore[name-defined] # noqa: F821, N802, UP037
        """Return it."""
        return text


class Plain(ServiceInterface):
    """Echoes from the loop itself, which it would block if it took long."""

    @dbus_method()
    def Echo(self, text: "s") -> "s":  # type: ignore[name-defined] # noqa: F821, N802, UP037
        """Return it."""
        return text


async def main() -> None:
    """Serve until killed."""
    bus = await MessageBus().connect()
    kind = Plain if sys.argv[1] == "def" else Async
    bus.export("/bench", kind("org.example.Bench"))
    await bus.request_name("org.example.Bench")
    await asyncio.Event().wait()


asyncio.run(main())
