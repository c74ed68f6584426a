"""The names by which clients address a server.

A browser gives a page whose own name was made to point here (DNS rebinding) all rights of the
server's own pages. But the header ``Host`` has that name.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING

from sparts.options import option

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparts.options import Option


def allowed_host_option() -> Option[list[str] | None]:
    """Return the option ``allowed_host`` of a server task that calls `is_ours`."""
    return option(
        action="append",
        metavar="NAME",
        help="accept this host name from clients, too, such as that of a proxy; may be "
        "repeated; without any, clients on other machines may use every name",
    )


def is_ours(host: str, allowed: Iterable[str] = ()) -> bool:
    """Return whether a header ``Host`` has a name of this server: an address, ``localhost`` or a
    name under it, the machine's own name, one that is allowed, or none.
    """
    name = hostname(host)
    if not name or name == "localhost" or name.endswith(".localhost"):
        return True
    others = {hostname(each) for each in (socket.gethostname(), *allowed)}
    return name in others or _address(name) is not None


def hostname(host: str) -> str:
    """Return the name in ``name:port`` or ``[address]:port``, in lower case."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_loopback(address: object) -> bool:
    """Return whether what a socket is bound to can be reached from this host alone."""
    found = _address(str(address[0]).partition("%")[0]) if isinstance(address, tuple) else None
    return found is not None and (getattr(found, "ipv4_mapped", None) or found).is_loopback


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
