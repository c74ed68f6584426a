"""The application of all contenders: hello, world without a framework."""

from typing import Any

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"12")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request."""
    if scope["type"] != "http":
        raise ValueError("only HTTP is served here")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"Hello, world"})
