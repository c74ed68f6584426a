"""Cross-origin resource sharing: which pages of other origins may call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

ANY = "*"
_ASKED = b"access-control-request-method"


def with_cors(serve: Callable[..., Any], origins: Sequence[str]) -> Callable[..., Any]:
    """Return an application that lets pages of some origins call another.

    Args:
        serve: the application.
        origins: such as ``https://example.com``; ``*``: any.
    """
    allowed = {origin.rstrip("/").encode() for origin in origins}
    everybody = ANY in origins

    async def run(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if origin is None or not (everybody or origin in allowed):
            await serve(scope, receive, send)
            return
        own = [
            (b"access-control-allow-origin", b"*" if everybody else origin),
            (b"vary", b"Origin"),
        ]
        if scope["method"] == "OPTIONS" and _ASKED in headers:
            own += [
                (b"access-control-allow-methods", b"GET, HEAD, POST"),
                (b"access-control-allow-headers", b"content-type, x-timeout-ms, authorization"),
                (b"access-control-max-age", b"600"),
            ]
            await send({"type": "http.response.start", "status": 204, "headers": own})
            await send({"type": "http.response.body", "body": b""})
            return
        # The page is known: its GET is as good as one of our own, by whichever name.
        scope["sparts.known"] = True
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"sec-fetch-site"]

        async def adding(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        await serve(scope, receive, adding)

    return run
