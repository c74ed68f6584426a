"""Sockets, TLS and connections: what server tasks stand on.

`listeners` has the mixin of server tasks whose sockets the service opens, `options` what all server
tasks have on the command line. `sockets` opens, `accepting` and `serving` accept and serve with
asyncio, `metering` counts and logs requests, and `memory` limits what they take.
"""

from __future__ import annotations

import os
from typing import Any

from sparts.startup import NamedTuple

EVERY = ("0.0.0.0", "::")  # noqa: S104 - a server is there to be reached
"""The hosts that stand for all addresses, IPv4 first."""


class Address(NamedTuple):
    """Where a server task is to listen, by its options."""

    owner: str
    """The name of the task."""
    prefix: str
    """The prefix of its options, for messages."""
    hosts: tuple[str, ...]
    port: int
    path: str
    """The path of a Unix socket; empty: TCP."""
    group: str
    backlog: int
    lenient: frozenset[str] = frozenset()
    """The hosts that are left out on a system that does not have their family of addresses."""

    def __str__(self) -> str:
        return self.path or ", ".join(format_address((host, self.port)) for host in self.hosts)

    def resolved(self) -> list[str]:
        """Return what the system knows its hosts as, sorted: ``host:port`` or ``[host]:port``.

        Raises:
            OSError: it does not know one of them.
        """
        import socket  # only those need it who write unit files

        return sorted(
            {
                format_address(info[4][:2])
                for host in self.hosts
                for info in socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
            }
        )


class TLSFiles(NamedTuple):
    """What the TLS of a server task is made of, by its options: paths of PEM files."""

    prefix: str
    """The prefix of its options, for messages."""
    cert: str
    key: str
    """Empty: the key is in the file of the certificate."""
    ca: str
    """Empty: clients need no certificate."""


def format_address(address: Any) -> str:
    """Return an address as ``host:port``, ``[host]:port`` or the path of a Unix socket."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address)


def collision(one: Address, other: Address) -> bool:
    """Return whether two addresses cannot both be bound."""
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or not one.port:
        return False
    pairs = [(a, b) for a in one.hosts for b in other.hosts if (":" in a) == (":" in b)]
    return any(a == b or {a, b} & set(EVERY) for a, b in pairs)
