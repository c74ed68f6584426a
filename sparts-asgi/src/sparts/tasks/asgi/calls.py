"""The wrappers that plugins put around each call, as one ASGI application around another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, partial
from math import ceil
from typing import Any

from sparts.calls import Call, CallRefusedError, Reason, awaits, starting
from sparts.errors import message_of

_STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}


class ASGICall(Call):
    """A request, or a WebSocket from its begin to its end. ``scope`` is ASGI's.

    Each application has a class of its own, which holds what is the same for all of its calls.
    """

    kind = "http"
    is_async = True
    app: Any
    proceed: Any
    scope: Any
    receive: Any
    send: Any
    handling: Any = None
    """What `begin` has given."""
    _noted: int | None = None
    __init__: Any = object.__init__

    @property
    def status(self) -> int | None:
        """Of the response; 0: a WebSocket's; None: it has not begun."""
        if self.scope["type"] == "http":
            return self.send.__self__.status or None
        return self._noted

    def begin(self) -> Any:
        """Return the coroutine of the application: ``proceed`` for wrappers that only look."""
        self.handling = handling = self.app(self.scope, self.receive, self.send)
        return handling

    async def handle(self) -> None:
        """Await the application, and note what it raises: ``proceed`` for wrappers that await."""
        self.error: BaseException | None = None
        try:
            await self.app(self.scope, self.receive, self.send)
        except Exception as error:  # frameworks answer first, and raise again for the log
            self.error = error
            if self.status is None:
                raise

    def note_status(self, send: Any, message: Any) -> Any:
        """Send a message of a WebSocket."""
        if self._noted is None:
            self._noted = message.get("status", 0)
        return send(message)

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

    proceed = ASGICall.handle if any(map(awaits, task._call_wrappers)) else ASGICall.begin
    about = {"task": task, "app": staticmethod(app), "proceed": proceed}
    made = type(ASGICall.__name__, (ASGICall,), about)

    def run(scope: Any, receive: Any, send: Any) -> Any:
        if scope["type"] == "lifespan":
            return app(scope, receive, send)
        call = made()
        call.scope, call.receive, call.send = scope, receive, send
        if scope["type"] == "websocket":
            call.send = partial(call.note_status, send)
        try:
            result = wrapper(call, call.proceed)
        except CallRefusedError as error:
            return _refuse(error, scope, send)
        # Of wrappers that only look, nothing is left to do: that saves two coroutines.
        return _end(call, result) if result is None or result is not call.handling else result

    return run


async def _end(call: ASGICall, result: Any) -> None:
    """Await what a wrapper has returned."""
    try:
        if hasattr(result, "__await__"):
            await result
    except CallRefusedError as error:
        if call.status is not None:
            raise
        await _refuse(error, call.scope, call.send)
    if call.error is not None:
        raise call.error


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
