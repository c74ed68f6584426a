"""Requests without a class that describes the methods, for commands."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from time import monotonic
from typing import Any

import msgspec
from sparts.rpc.clients import OutgoingCall
from sparts.rpc.errors import UnavailableError
from sparts.rpc.interface import interface_of, rpc
from sparts.tasks.asgi.rpc.blocking import Pool
from sparts.tasks.asgi.rpc.exchange import Response, head_of, place_of


class _Any:
    @rpc
    def request(self) -> None: ...


class PlainCall:
    """Sends requests to one server.

    Args:
        url: ``http:``, ``https:`` or ``unix:``.
        timeout: seconds that each may take.
        headers: headers of each request.
    """

    def __init__(self, url: str, timeout: float, headers: Mapping[str, str] | None = None) -> None:
        self._place, self._timeout = place_of(url), timeout
        known = {"Host": self._place.authority, "Content-Type": "application/json"}
        self._head = head_of({**known, **(headers or {}), "Connection": "close"})

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send JSON, and return the status and the body of the response."""
        return self._ask("POST", path, body)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return the status and the body of a page."""
        return self._ask("GET", path, b"")

    def _ask(self, verb: str, path: str, body: bytes) -> tuple[int, bytes]:
        place = self._place
        method = interface_of(_Any).methods["request"]
        call = OutgoingCall(method, (), monotonic() + self._timeout, False)
        start = f"{verb} {place.base}{path} HTTP/1.1\r\n".encode("ascii", "replace")
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        pool = Pool(place, ssl.create_default_context() if place.tls else None)
        response: Response = pool.ask(call, b"".join((start, self._head, length, body)))
        return response.status, response.take()


def listed(url: str) -> list[str]:
    """Return the methods of a server, as its OpenAPI document has them, a line each."""
    status, body = PlainCall(url, 60.0).get("/openapi.json")
    try:
        paths: dict[str, Any] = msgspec.json.decode(body)["paths"]
        methods = {path[1:].replace("/", "."): each["post"] for path, each in paths.items()}
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        text = f"{url} has no OpenAPI document of methods (status {status})."
        raise UnavailableError(text) from error
    width = max(map(len, methods), default=0)
    summaries = {name: each.get("summary", "") for name, each in methods.items()}
    return [
        name if text in (name, "") else f"{name:<{width}}  {text}"
        for name, text in summaries.items()
    ]
