"""Decides which HTTP requests may read or act: against pages of other origins, and guessing.

A browser sends requests to this server for any page that it shows, so the address of a client says
nothing about who wants the request. These do: the name in ``Host`` (a page whose own name was made
to point here, DNS rebinding, has that name in it), ``Origin`` and ``Sec-Fetch-Site``, a header or
content type that other origins may not set, and a token that only trusted clients know.
"""

from __future__ import annotations

import hmac
import socket
from typing import TYPE_CHECKING

from sparts.net.hosts import hostname, is_loopback, is_ours

if TYPE_CHECKING:
    from collections.abc import Collection

    from tornado.httputil import HTTPServerRequest


def wrong_host(request: HTTPServerRequest, allowed: Collection[str], strict: bool = False) -> str:
    """Return the name in ``Host`` by which a client must not address us; ``""`` if it may.

    Addresses, ``localhost`` and the name of this machine are always right. Clients from elsewhere
    may use any other name too, unless some are allowed, or ``strict``.
    """
    host = request.headers.get("Host", "")
    if is_ours(host, allowed):
        return ""
    return hostname(host) if strict or allowed or is_loopback(bound_to(request)) else ""


def by_browser(request: HTTPServerRequest) -> bool:
    """Return whether a browser says where the page is from that makes it send a request.

    All of them do with a POST.
    """
    return "Origin" in request.headers or "Sec-Fetch-Site" in request.headers


def foreign(request: HTTPServerRequest) -> str:
    """Return why a request seems to come from a page of another origin; ``""`` if not.

    Programs that are no browsers send neither of the headers, and pass.
    """
    host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
    if origin is not None and origin.rpartition("//")[2].lower() != host.lower():
        return f"it comes from a page of {origin}"
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    if site not in ("same-origin", "none"):
        return f"it comes from a page elsewhere ({site})"
    return ""


def over_unix_socket(request: HTTPServerRequest) -> bool:
    """Return whether a request came over a Unix socket, whose file says who may use it."""
    sock = _socket(request)
    return sock is not None and sock.family == socket.AF_UNIX


def token_given(request: HTTPServerRequest) -> str:
    """Return the token that a request presents; ``""`` for none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    # Tornado reads headers as Latin-1; browsers and curl send UTF-8.
    sent = token.strip().encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    return sent if scheme.lower() == "bearer" else ""


def token_is_right(given: str, wanted: str | None) -> bool:
    """Compare tokens in a time that reveals nothing about them; no token is ever right."""
    sent, right = (text.encode("utf-8", "surrogateescape") for text in (given, wanted or ""))
    return bool(right) and hmac.compare_digest(sent, right)


def bound_to(request: HTTPServerRequest) -> object:
    """Return the address of the server's end of a request's connection; None: it is closed."""
    sock = _socket(request)
    try:
        return sock and sock.getsockname()
    except OSError:  # it has been closed meanwhile
        return None


def _socket(request: HTTPServerRequest) -> socket.socket | None:
    stream = getattr(request.connection, "stream", None)
    found: socket.socket | None = getattr(stream, "socket", None)
    return found
