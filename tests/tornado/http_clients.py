"""A client task, and a server that answers it as a test says."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT as WAIT
from tornado.web import RequestHandler


class Client(TornadoHTTPClientTask):
    """Tries again soon."""

    RETRY_AFTER = 0.001


class Seen(NamedTuple):
    """A request that has come."""

    method: str | None
    peer: Any
    path: str
    id: str | None


class Scripted(RequestHandler):
    """Answers as the next step says, and 200 after all steps."""

    steps: list[Callable[[Scripted], object]] = []
    seen: list[Seen] = []

    async def answer(self, path: str) -> None:
        """Take the next step."""
        stream = self.request.connection.stream  # type: ignore[union-attr]
        given = self.request.headers.get("X-Request-Id")
        self.seen.append(Seen(self.request.method, stream.socket.getpeername(), path, given))
        step = self.steps.pop(0) if self.steps else None
        if step is None:
            self.write("done")
        elif (waiting := step(self)) is not None:
            await waiting  # type: ignore[misc]

    get = post = put = delete = answer


def says(status: int, **headers: str) -> Callable[[Scripted], object]:
    """Answer with a status."""

    def step(handler: Scripted) -> None:
        handler.set_status(status)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        handler.write("busy")

    return step


def hangs_up(handler: Scripted) -> None:
    """Close the connection."""
    handler.request.connection.stream.close()  # type: ignore[union-attr]


async def _part(handler: Scripted) -> None:
    handler.set_header("Content-Length", "100")
    handler.write("part")
    await handler.flush()
    hangs_up(handler)


def breaks_off(handler: Scripted) -> Any:
    """Close the connection within the answer."""
    return _part(handler)


class Hangs(RequestHandler):
    """Answers nothing until the end."""

    begun: threading.Event

    async def get(self) -> None:
        """Answer."""
        self.begun.set()
        await self.application.task.ending.wait()  # type: ignore[attr-defined]


class Slow(RequestHandler):
    """Answers when it is let go."""

    begun: threading.Event
    go_on: threading.Event

    async def get(self) -> None:
        """Answer."""
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait)
        self.write("late")


class Calls(RequestHandler):
    """Asks another server while it answers."""

    async def get(self) -> None:
        """Answer."""
        task = self.application.task  # type: ignore[attr-defined]
        client: Client = task.service.requireTask(Client)
        response = await client.fetch(url_of(task.service))
        self.write(response.body)


class Server(TornadoHTTPTask):
    """Serves them."""

    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the routes."""
        known: list[Any] = [("/hangs", Hangs), ("/slow", Slow), ("/calls", Calls)]
        return [*known, ("/(.*)", Scripted)]


def url_of(service: Any, scheme: str = "http") -> str:
    """Return where the server is."""
    host, port = service.requireTask(Server).bound_addrs[0]
    return f"{scheme}://{host}:{port}/"


@contextmanager
def client_of(
    *steps: Callable[[Scripted], object], argv: tuple[str, ...] = (), client: Any = Client
) -> Iterator[tuple[Any, str]]:
    """Give a client, and the URL of a server of these steps."""
    Scripted.steps, Scripted.seen = list(steps), []
    Hangs.begun, Slow.begun, Slow.go_on = (threading.Event() for _ in range(3))
    with running(service_of(client, Server), *argv) as service:
        yield service.requireTask(client), url_of(service)
