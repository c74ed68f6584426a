"""The methods that a name on D-Bus has, as introspection says; for ``sparts rpc list``."""

from __future__ import annotations

import asyncio
from typing import Any

from dbus_fast import DBusError, Message
from dbus_fast.introspection import Node
from sparts.errors import message_of
from sparts.rpc.errors import UnavailableError
from sparts.tasks.dbus.bus import Bus
from sparts.tasks.dbus.errors import BusError
from sparts.tasks.dbus.rpc.methods import place_of

TIMEOUT = 30.0
"""Seconds that the server may take."""
MAX_MESSAGE = 1024 * 1024


def listed(name: str, address: Any) -> list[str]:
    """Return the methods of the RPC tasks of a name on a bus, a line each.

    Raises:
        UnavailableError: the bus or the name does not answer.
    """
    try:
        return asyncio.run(_listed(name, address))
    except (BusError, DBusError, TimeoutError) as error:
        text = message_of(error) or f"{name} has not answered for {TIMEOUT:g} s"
        raise UnavailableError(text, maybe_run=False) from error


async def _listed(name: str, address: Any) -> list[str]:
    async with asyncio.timeout(TIMEOUT):
        bus = await Bus.to(address, lambda bus, message: False, False, MAX_MESSAGE)
        try:
            base = place_of(name, "")[0].rstrip("/")
            found = []
            for child in (await _node(bus, name, base)).nodes:
                path, interface = place_of(name, str(child.name))
                found += [
                    f"{child.name}.{method.name}"
                    for each in (await _node(bus, name, path)).interfaces
                    for method in each.methods
                    if each.name == interface
                ]
            return found
        finally:
            bus.close()


async def _node(bus: Bus, name: str, path: str) -> Node:
    call = Message(name, path, "org.freedesktop.DBus.Introspectable", "Introspect")
    return Node.parse((await bus.exchange(call)).body[0])
