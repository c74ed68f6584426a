"""Requests of the client as calls that plugins wrap: `sparts.calls` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from sparts.calls import ClientCall

from tornado.httpclient import HTTPClientError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sparts.calls import Wrapper

    from tornado.httpclient import HTTPRequest, HTTPResponse


async def wrapped(
    task: Any, request: HTTPRequest, wrapper: Wrapper, send: Callable[[], Awaitable[HTTPResponse]]
) -> HTTPResponse:
    """Send a request with what wraps the calls of clients around it."""
    parts = urlsplit(request.url)
    host = parts.netloc.rpartition("@")[2]
    attributes: dict[str, Any] = {
        "method": request.method,
        "url.full": urlunsplit((parts.scheme, host, parts.path, "", "")),
        "path": parts.path,
        "scheme": parts.scheme,
        "host": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }
    call = ClientCall(task, "http", request.method, is_async=True, attributes=attributes)

    async def proceed() -> HTTPResponse:
        for name, value in call.headers.items():
            request.headers[name] = value
        try:
            response = await send()
        except HTTPClientError as error:
            attributes["status"] = error.code if error.code != 599 else None
            raise
        attributes["status"] = response.code
        return response

    response: HTTPResponse = await wrapper(call, proceed)
    return response
