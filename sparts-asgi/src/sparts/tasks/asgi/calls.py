"""The wrappers that plugins put around each call, as one ASGI application around another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import ceil
from typing import Any

from sparts.calls import Call, CallRefusedError, Reason, starting
from sparts.errors import message_of

_STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}


class ASGICall(Call):
    """A request, or a WebSocket from its begin to its end. ``scope`` is ASGI's."""

    kind = "http"
    is_async = True
    status: int | None = None
    """Of the response, once it has begun; 0: a WebSocket's."""

    def __init__(self, task: Any, scope: Any) -> None:
        self.task: Any = task
        self.scope: Any = scope

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method."""
        return str(self.scope.get("method", "WEBSOCKET"))

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @cached_property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """The headers, by lower-case name."""
        pairs = self.scope["headers"]
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What is known of the request, and of the response when it has begun."""
        scope = self.scope
        found = {
            "method": self.name,
            "path": scope["path"],
            "scheme": scope["scheme"],
            "host": self.headers.get("host", ""),
        }
        if self.status:
            route = getattr(scope.get("route"), "path", "")  # FastAPI's
            found |= {"status": self.status, "route": route}
        return found


def wrapped(task: Any, app: Any) -> Any:
    """Return an application with the wrappers of a task's calls around it; itself without any."""
    wrapper = starting(task)
    if wrapper is None:
        return app

    async def run(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        call = ASGICall(task, scope)

        def noting(message: Any) -> Any:
            if call.status is None:
                call.status = message.get("status", 0)
            return send(message)

        async def proceed() -> None:
            call.error = None
            try:
                await app(scope, receive, noting)
            except Exception as error:  # frameworks answer first, and raise again for the log
                call.error = error
                if call.status is None:
                    raise

        try:
            result = wrapper(call, proceed)
            if hasattr(result, "__await__"):
                await result
        except CallRefusedError as error:
            if call.status is not None:
                raise
            await _refuse(error, scope, send)
        if call.error is not None:
            raise call.error

    return run


async def _refuse(error: CallRefusedError, scope: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        reason = message_of(error).encode()[:123].decode(errors="ignore")  # the longest there is
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    body = f"{message_of(error)}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    if error.reason is Reason.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % ceil(error.retry_after)))
    status = _STATUS[error.reason]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
