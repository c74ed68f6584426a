"""Who asks: `caller` tells a handler's method whom it works for."""

from __future__ import annotations

import ipaddress
from contextvars import ContextVar
from typing import Any, NamedTuple


class Caller(NamedTuple):
    """The other end of the connection that a call came by."""

    address: Any
    """As `socket.getpeername` tells it; the path of a Unix socket is mostly empty."""

    @property
    def local(self) -> bool:
        """Whether it is on this machine: by a loopback address or a Unix socket."""
        if not isinstance(self.address, tuple):
            return True
        found = ipaddress.ip_address(self.address[0].partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found).is_loopback

    def __str__(self) -> str:
        from sparts.net.listeners import format_address

        return format_address(self.address) or "a Unix socket"


current: ContextVar[Caller | None] = ContextVar("sparts.thrift.caller", default=None)


def caller() -> Caller | None:
    """Return who made the call that is being worked on; None outside of one.

    In the method of a handler, in its thread or coroutine.
    """
    return current.get()
