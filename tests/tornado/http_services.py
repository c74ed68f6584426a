"""Services that answer HTTP, for tests, and raw clients of theirs."""

# ruff: noqa: D102 - handlers, whose docstrings say it all

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from sparts.tasks.tornado import TornadoHTTPTask, request_id
from sparts.testing.running import service_of
from sparts.testing.waiting import WAIT as WAIT
from sparts.vservice import VService
from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketHandler

from tests.http_contract import HANDSHAKE as HANDSHAKE
from tests.http_contract import read_answer as read_answer


class Echo(RequestHandler):
    """Says what it was asked, in a coroutine."""

    async def get(self, path: str = "") -> None:
        await asyncio.sleep(0)
        self.write({"path": path, "ip": self.request.remote_ip, "id": request_id(self.request)})

    async def post(self, path: str = "") -> None:
        await asyncio.sleep(0)
        self.write(str(len(self.request.body)))


class Status(RequestHandler):
    """Answers with the status of the path."""

    def get(self, status: str) -> None:
        self.set_status(int(status))


class Large(RequestHandler):
    """Answers with more than a client gets that reads nothing."""

    def get(self) -> None:
        self.write(bytes(20_000_000))


class Ready(RequestHandler):
    """Says whether the service is ready, as load balancers ask."""

    def get(self) -> None:
        ready = self.application.task.service.ready  # type: ignore[attr-defined]
        self.set_status(200 if ready else 503)


class Logs(RequestHandler):
    """Logs a line while it answers."""

    def get(self) -> None:
        self.application.task.logger.info("Answering")  # type: ignore[attr-defined]


class Fails(RequestHandler):
    """Has a bug."""

    def get(self) -> None:
        raise ValueError("a bug")


class Gate(RequestHandler):
    """Answers when it is let go."""

    begun: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    async def get(self) -> None:
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait, WAIT)
        self.write("late")


class Stream(RequestHandler):
    """Sends a part at once, and the rest when the task ends."""

    async def get(self) -> None:
        self.write("begun\n")
        await self.flush()
        await self.application.task.ending.wait()  # type: ignore[attr-defined]
        self.write("ended\n")


class Mirror(RequestHandler):
    """Answers with what it gets."""

    def post(self) -> None:
        self.write(self.request.body)


@stream_request_body
class Upload(RequestHandler):
    """Counts the bytes of a body as they come."""

    def prepare(self) -> None:
        self.size = 0

    async def data_received(self, chunk: bytes) -> None:
        self.size += len(chunk)
        await asyncio.sleep(0)

    def post(self) -> None:
        self.write(str(self.size))


class Talk(WebSocketHandler):
    """Gives back what it gets."""

    closed: ClassVar[list[Any]] = []

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message)

    def on_close(self) -> None:
        self.closed.append((self.close_code, self.close_reason))


class Http(TornadoHTTPTask):
    """All of these."""

    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [
            (r"/echo/?(.*)", Echo),
            (r"/status/(\d+)", Status),
            ("/large", Large),
            ("/readyz", Ready),
            ("/logs", Logs),
            ("/fails", Fails),
            ("/gate", Gate),
            ("/endless", Stream),
            ("/mirror", Mirror),
            ("/upload", Upload),
            ("/talk", Talk),
            *super().getApplicationConfig(),
        ]


Service = service_of(Http)


def port_of(service: VService) -> int:
    """Give the port of the service's HTTP task."""
    port: int = service.requireTask(Http).bound_addrs[0][1]
    return port


@contextmanager
def connected(service: VService) -> Iterator[socket.socket]:
    """Give a raw connection to the service."""
    with socket.create_connection(("127.0.0.1", port_of(service)), WAIT) as client:
        yield client


def ask(
    client: socket.socket, path: str = "/", method: str = "GET", body: bytes = b"", **headers: Any
) -> tuple[int, dict[str, str], bytes]:
    """Ask over a raw connection that stays open; ``_`` in names of headers is shown as ``-``."""
    given = {"Host": "localhost", **{n.replace("_", "-"): v for n, v in headers.items()}}
    if body:
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    client.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    return read_answer(client)


async def _take_turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def settle(service: VService) -> None:
    """Wait until the loop has done what it is at: a response is counted after it is written."""
    service.requireTask("TornadoIOLoopTask").call(_take_turns).result(WAIT)


def ask_once(service: VService, path: str = "/", **more: Any) -> tuple[int, dict[str, str], bytes]:
    """Ask over a connection of its own."""
    with connected(service) as client:
        answer = ask(client, path, **more)
    settle(service)
    return answer
