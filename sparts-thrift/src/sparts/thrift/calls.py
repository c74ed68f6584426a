"""Who asks: `caller` returns whom a handler's method works for."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Caller(NamedTuple):
    """The other end of the connection that a call came by."""

    address: Any
    """As `socket.getpeername` returns it; the path of a Unix socket is mostly empty."""
    token: str | None = None
    """The bearer token that came with a call over HTTP, empty if none did; None: the call came over
    a Unix socket, or not over HTTP."""

    @property
    def local(self) -> bool:
        """Whether it is a program on this machine: by a loopback address or a Unix socket.

        A call over HTTP is local only if it came over a Unix socket: browsers and proxies on this
        machine send what others wrote.
        """
        if self.token is not None:
            return False
        if not isinstance(self.address, tuple):
            return True
        found = ipaddress.ip_address(self.address[0].partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return (mapped or found).is_loopback

    @property
    def peer(self) -> str:
        """The address without the port; empty: over a Unix socket."""
        return str(self.address[0]) if isinstance(self.address, tuple) else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """Over HTTP, the bearer token as ``authorization``. A frame has none: what wrappers of a
        client of this process want to be sent, else nothing.
        """
        if self.token is not None:
            return {"authorization": f"Bearer {self.token}"} if self.token else _NONE
        return _passed.get(_end(self.address), _NONE)

    def knows(self, token: str | None) -> bool:
        """Return whether the call came with this token; never true for an empty one or None."""
        sent, right = (
            text.encode("utf-8", "surrogateescape") for text in (self.token or "", token or "")
        )
        return bool(right) and hmac.compare_digest(sent, right)

    def __repr__(self) -> str:
        return f"<Caller {self}>"  # without the token

    def __str__(self) -> str:
        from sparts.net.listeners import format_address

        return format_address(self.address) or "a Unix socket"


_NONE: Mapping[str, str] = {}
_passed: dict[tuple[str, int] | None, Mapping[str, str]] = {}
"""The headers of framed calls of clients in this process, by the client's end of the connection."""


def _end(address: Any) -> tuple[str, int] | None:
    """Return the host and the port of an address, if it has any."""
    if not isinstance(address, tuple):
        return None
    return address[0].removeprefix("::ffff:"), address[1]


@contextmanager
def passing(address: Any, headers: Mapping[str, str]) -> Iterator[None]:
    """Let the server, if it is in this process, see the headers of a call whose frame has none.

    Args:
        address: the client's own, as `socket.getsockname` returns it.
        headers: what wrappers of the client want to be sent.
    """
    end = _end(address) if headers else None
    if end is not None:
        _passed[end] = headers
    try:
        yield
    finally:
        _passed.pop(end, None)


current: ContextVar[Caller | None] = ContextVar("sparts.thrift.caller", default=None)


def caller() -> Caller | None:
    """Return who made the call that is being worked on; None outside of one.

    In the method of a handler, in its thread or coroutine.
    """
    return current.get()
