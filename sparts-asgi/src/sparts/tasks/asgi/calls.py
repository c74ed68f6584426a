"""The wrappers that plugins put around each request and each WebSocket."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from math import ceil
from typing import Any

from sparts.calls import Call, CallRefusedError, Reason, awaiting, joined
from sparts.errors import message_of

_STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}


class ASGICall(Call):
    """A request, or a WebSocket from its begin to its end."""

    kind = "http"
    is_async = True
    app: Any
    """The application."""
    scope: Any
    """ASGI's, as `receive` and `send`."""
    receive: Any
    send: Any
    status: Any = 0
    """Of the response; 0: it has not begun."""

    @property
    def name(self) -> str:  # type: ignore[override]
        """The method; the handshake of a WebSocket is a GET."""
        return str(self.scope.get("method", "GET"))

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client."""
        client = self.scope.get("client")
        return client[0] if client else ""

    @cached_property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """The headers, by lower-case name."""
        pairs = self.scope["headers"]
        return joined((name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs)

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

    def begin(self) -> Any:
        """Return what runs the application: ``proceed`` for wrappers that only look."""
        return self.app(self.scope, self.receive, self.send)

    async def handle(self) -> None:
        """Await the application, and note what it raises: ``proceed`` for wrappers that await."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except Exception as error:  # frameworks answer first, and raise again for the log
            self.error: BaseException | None = error
            if not self.status:
                raise

    async def end(self, error: BaseException | None, scope: Any, receive: Any, send: Any) -> None:
        """Refuse the call, or raise what its wrapper or the application has raised."""
        if isinstance(error, CallRefusedError) and not self.status:
            await _refuse(error, scope, send)
        elif error is not None:
            raise error


class WebSocketCall(ASGICall):
    """A WebSocket."""

    def __init__(self, task: Any, app: Any, scope: Any, receive: Any, send: Any) -> None:
        self.task: Any = task
        self.app: Any = app
        self.scope: Any = scope
        self.receive: Any = receive
        self._send = send

    def send(self, message: Any) -> Any:
        """Return the coroutine that sends a message; called by the application."""
        if not self.status:
            accepted = message["type"] == "websocket.accept"
            self.status: int = message.get("status", 101 if accepted else 403)
        return self._send(message)


def wrapped_websockets(task: Any, app: Any) -> Any:
    """Return an application whose WebSockets the wrappers of a task wrap.

    What wraps requests is `sparts.tasks.asgi.cycle.wrapped_requests`.
    """
    wrapper: Any = awaiting(task)

    async def run(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            await app(scope, receive, send)
            return
        call = WebSocketCall(task, app, scope, receive, send)
        try:
            await wrapper(call, call.handle)
            error = call.error
        except Exception as raised:
            error = raised
        await call.end(error, scope, receive, send)

    return run


async def no_application(scope: Any, receive: Any, send: Any) -> None:
    """Do nothing: an application for what changes scopes on their way to one."""


async def _refuse(error: CallRefusedError, scope: Any, send: Any) -> None:
    """Answer a request, or the handshake of a WebSocket."""
    body = f"{message_of(error)}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
    ]
    if error.reason is Reason.UNAUTHENTICATED:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % ceil(error.retry_after)))
    answer = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
    status = _STATUS[error.reason]
    await send({"type": f"{answer}.start", "status": status, "headers": headers})
    await send({"type": f"{answer}.body", "body": body})
