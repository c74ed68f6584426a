"""An ASGI application in a service: its handler puts work into a queue, and waits for it."""

import asyncio
from typing import Any

from sparts.context import ExecuteContext
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.queue import QueueTask
from sparts.vservice import VService


class Squares(QueueTask[int, int]):
    """Processes numbers."""

    WORKERS = 2

    def execute(self, item: int, context: ExecuteContext) -> int:
        return item * item


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer /7 with 49."""
    if scope["type"] != "http":
        raise ValueError("only HTTP is served here")
    number = scope["path"].strip("/")
    status, text = 404, "ask for a number\n"
    if number.isdecimal():
        squares = scope["sparts.service"].requireTask("Squares")
        status, text = 200, f"{await asyncio.wrap_future(squares.submit(int(number)))}\n"
    body = text.encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Web(AsgiTask):
    """Serves it."""

    APP = app
    DEPS = [Squares]


class SquareService(VService):
    """Squares numbers over HTTP."""

    TASKS = [Squares, Web]


if __name__ == "__main__":
    SquareService.initFromCLI()
