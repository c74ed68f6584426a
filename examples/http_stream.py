"""Streams in both directions: a response without an end, and a body that is not kept in memory."""
import asyncio
import hashlib
from typing import Any

from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService
from tornado.web import RequestHandler, stream_request_body


class Ticks(RequestHandler):
    """Server-sent events, one a second, until the client or the service goes."""

    def initialize(self, task: TornadoHTTPTask) -> None:
        self.task = task

    async def get(self) -> None:
        self.set_header("Content-Type", "text/event-stream")
        number = 0
        while not self.task.ending.is_set():  # so that a stop need not cut it off
            number += 1
            self.write(f"data: {number}\n\n")
            await self.flush()
            try:
                async with asyncio.timeout(1):
                    await self.task.ending.wait()
            except TimeoutError:
                continue


@stream_request_body
class Digest(RequestHandler):
    """Tells the SHA-256 of what is sent, however long it is."""

    def prepare(self) -> None:
        self.digest = hashlib.sha256()
        self.request.connection.set_max_body_size(10**12)  # type: ignore[union-attr]

    def data_received(self, chunk: bytes) -> None:
        self.digest.update(chunk)

    def put(self) -> None:
        self.write(self.digest.hexdigest())


class Web(TornadoHTTPTask):
    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/ticks", Ticks, {"task": self}), ("/digest", Digest)]


class MyService(VService):
    TASKS = [Web]
    DEFAULT_PORT = 8000


if __name__ == "__main__":
    MyService.initFromCLI()
