"""The wrappers that plugins put around each call, as one ASGI application around another."""

from __future__ import annotations

from typing import Any

from sparts.calls import Call, CallRefusedError, Reason, awaiting
from sparts.errors import message_of

_STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}


def wrapped(task: Any, app: Any) -> Any:
    """Return an application with the wrappers of a task's calls around it; itself without any."""
    wrapper = awaiting(task)
    if wrapper is None:
        return app

    async def run(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        call = _call(task, scope)
        attributes: Any = call.attributes
        started = False

        async def noting(message: Any) -> None:
            nonlocal started
            started = True
            if "status" in message:
                attributes["status"] = message["status"]
                attributes["route"] = getattr(scope.get("route"), "path", "")  # FastAPI's
            await send(message)

        async def proceed() -> None:
            try:
                await app(scope, receive, noting)
            except Exception as error:  # frameworks answer first, and raise again for the log
                call.error = error
                if not started:
                    raise

        try:
            await wrapper(call, proceed)
        except CallRefusedError as error:
            if started:
                raise
            await _refuse(error, scope, send)
        if call.error is not None:
            raise call.error

    return run


def _call(task: Any, scope: Any) -> Call:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    client = scope.get("client")
    method = scope.get("method", "WEBSOCKET")
    attributes = {
        "method": method,
        "path": scope["path"],
        "scheme": scope["scheme"],
        "host": headers.get("host", ""),
    }
    peer = client[0] if client else ""
    return Call(
        task,
        "http",
        method,
        is_async=True,
        peer=peer,
        headers=headers,
        attributes=attributes,
    )


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
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
    status = _STATUS[error.reason]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
