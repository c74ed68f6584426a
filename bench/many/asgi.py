"""Hello world on AsgiTask, for several processes."""

from typing import Any

from sparts.tasks.asgi import AsgiTask
from sparts.vservice import VService

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"12")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request."""
    if scope["type"] != "http":
        raise ValueError("only HTTP is served here")
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"Hello, world"})


class Web(AsgiTask):
    """The application."""

    OPT_PREFIX = "http"
    DEFAULT_HOST = "127.0.0.1"
    APP = app


class Service(VService):
    """Nothing but HTTP."""

    TASKS = [Web]


if __name__ == "__main__":
    Service.initFromCLI()
