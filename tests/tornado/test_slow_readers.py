"""Clients that do not read: they hold neither a connection nor an answer forever."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.tornado import TornadoHTTPTask, TornadoIOLoopTask
from sparts.testing.running import running, service_of
from sparts.vservice import VService
from tornado.web import RequestHandler
from tornado.websocket import WebSocketHandler

from tests.certificates import over_tls
from tests.http_contract import get
from tests.tornado.http_services import HANDSHAKE, WAIT, ask, read_answer, settle

LONG = 30_000_000  # more than the buffers of both sides hold
QUICK = ("--http-write-timeout", "200ms")


class Whole(RequestHandler):
    """Sends all at once."""

    def get(self) -> None:
        self.write(bytes(LONG))


class Parts(RequestHandler):
    """Sends part after part."""

    async def get(self) -> None:
        self.set_header("Content-Length", LONG)
        for _ in range(LONG // 1_000_000):
            self.write(bytes(1_000_000))
            await self.flush()


class Events(RequestHandler):
    """Sends event after event, and does not care who takes them."""

    async def get(self) -> None:
        while not self.request.connection.stream.closed():  # type: ignore[union-attr]
            self.write(b"data: %s\n\n" % (b"x" * 100_000))
            self.flush()
            await asyncio.sleep(0)


class Talk(WebSocketHandler):
    """Says much to every client."""

    def open(self, *_: str) -> None:
        self.write_message(bytes(LONG), binary=True)


class Http(TornadoHTTPTask):
    """All of these."""

    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        mine: list[Any] = [("/whole", Whole), ("/parts", Parts), ("/events", Events)]
        return [*mine, ("/talk", Talk), *super().getApplicationConfig()]


Service = service_of(Http)


@contextlib.contextmanager
def connected(service: VService, room: int = 65536) -> Iterator[socket.socket]:
    """A connection whose client has room for so many bytes that it has not read."""
    address = service.requireTask(Http).bound_addrs[0]
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with socket.socket(family) as client:
        client.settimeout(WAIT)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        client.connect(address)
        yield client


def wait_for_end(client: socket.socket) -> None:
    """Wait until the server has closed the connection, without reading from it."""
    poller = select.poll()
    poller.register(client, 0)  # errors and the end alone
    assert poller.poll(WAIT * 1000)


def check_rest(service: VService) -> None:
    """Look whether the server waits for no client."""
    server = service.requireTask(Http).server
    assert (server._stalled, server._timer) == ({}, None)


@pytest.mark.parametrize("path", ["/whole", "/parts", "/events", "/talk"])
@pytest.mark.parametrize("way", ["tcp", "tls", "unix", "uvloop"])
def test_client_that_reads_nothing_is_closed_in_time(
    path: str, way: str, pem: str, tmp_path: Path
) -> None:
    more: dict[str, tuple[str, ...]] = {
        "tls": ("--http-tls-cert", pem),
        "unix": ("--http-sock", str(tmp_path / "sock")),
        "uvloop": ("--ioloop-uvloop",),
    }
    with (
        running(Service, *QUICK, *more.get(way, ())) as service,
        connected(service) as client,
        contextlib.ExitStack() as stack,
    ):
        if way == "tls":
            client = stack.enter_context(over_tls(client))
        client.sendall(HANDSHAKE if path == "/talk" else get(path))
        wait_for_end(client)
        settle(service)
        assert service.getCounter("Http.timeouts") == 1
        assert service.getCounter("Http.connections") == 0
        check_rest(service)


def test_unread_answer_is_cut_off_in_time(caplog: pytest.LogCaptureFixture) -> None:
    with (
        running(Service, "--stop-timeout", "1500ms") as service,
        connected(service) as client,
    ):
        client.sendall(get("/parts"))
        client.recv(1000)
        service.shutdown()
        assert service.join(WAIT)
    assert "Requests cut off, which took too long to finish: 1" in caplog.text


class LaterLoop:
    """A running loop whose clock is ahead by as much as a test says."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ahead = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loop, name)

    def time(self) -> float:
        return self.loop.time() + self.ahead

    def call_at(self, when: float, callback: Any) -> asyncio.TimerHandle:
        return self.loop.call_at(when - self.ahead, callback)


class Time:
    """Has time pass for a service's server."""

    def __init__(self, service: VService) -> None:
        self.server: Any = service.requireTask(Http).server
        self.loop_task: TornadoIOLoopTask = service.requireTask(TornadoIOLoopTask)
        self.loop = LaterLoop(self.server._loop)
        self.server._loop = self.loop  # type: ignore[assignment]

    def wait_for_stall(self) -> None:
        """Wait until a client takes nothing more."""

        async def look() -> None:
            while not self.server._stalled:
                await asyncio.sleep(0)

        self.loop_task.call(look).result(WAIT)

    def read(self, client: socket.socket, size: int = 250_000) -> bytes:
        """Read so much, and wait until the server's system has learned of it.

        It is too little for the system to tell the server each time that it may send more.
        """
        (stream,) = self.server._stalled
        before, data = stream.taken(), b""
        while len(data) < size:
            data += client.recv(size - len(data))

        async def look() -> None:
            while stream.taken() == before:
                await asyncio.sleep(0)

        self.loop_task.call(look).result(WAIT)
        return data

    def passes(self, seconds: float) -> None:
        """Let it be later, and the server see what is due."""
        self.loop.ahead += seconds
        self.loop_task.call(self.server._close_late).result(WAIT)


NO_OTHER_LIMITS = ("--http-idle-timeout", "0", "--http-read-timeout", "0")


@contextlib.contextmanager
def stalled(path: str) -> Iterator[tuple[VService, socket.socket, Time]]:
    """A client that has begun to read an answer, and takes nothing more."""
    with running(Service, *NO_OTHER_LIMITS) as service, connected(service) as client:
        time = Time(service)
        client.sendall(get(path))
        time.wait_for_stall()
        yield service, client, time


@pytest.mark.linux  # it says how much of what was sent a client has taken
@pytest.mark.parametrize("path", ["/whole", "/parts"])
def test_client_that_reads_slowly_but_steadily_gets_all(path: str) -> None:
    with stalled(path) as (service, client, time):
        read = b""
        for _ in range(40):
            read += time.read(client)
            time.passes(50.0)
        while len(read.partition(b"\r\n\r\n")[2]) < LONG:
            chunk = client.recv(1_000_000)
            assert chunk
            read += chunk
        assert service.getCounter("Http.timeouts") == 0


@pytest.mark.linux  # it says how much of what was sent a client has taken
def test_what_was_taken_late_is_forgotten() -> None:
    with stalled("/whole") as (service, client, time):
        assert len(read_answer(client)[2]) == LONG
        time.passes(70.0)
        client.sendall(get("/whole"))
        assert len(read_answer(client)[2]) == LONG
        time.passes(59.0)
        assert ask(client)[0] == 200
        assert service.getCounter("Http.timeouts") == 0
        time.passes(61.0)
        assert time.server._stalled == {}


@pytest.mark.linux  # it says how much of what was sent a client has taken
def test_time_counts_from_when_something_was_taken_last() -> None:
    with stalled("/whole") as (service, client, time):
        time.passes(59.0)
        time.read(client)
        time.passes(2.0)  # seen now
        time.passes(59.0)
        assert service.getCounter("Http.timeouts") == 0
        time.passes(2.0)
        wait_for_end(client)
        settle(service)
        assert service.getCounter("Http.timeouts") == 1


def test_a_client_that_goes_away_is_forgotten() -> None:
    with running(Service, *NO_OTHER_LIMITS) as service:
        server = service.requireTask(Http).server
        with connected(service) as client:
            client.sendall(get("/whole"))
            Time(service).wait_for_stall()
            stream = next(iter(server._stalled))
        loop_task = service.requireTask(TornadoIOLoopTask)

        async def gone() -> None:
            while not stream.closed():
                await asyncio.sleep(0)

        loop_task.call(gone).result(WAIT)
        settle(service)
        check_rest(service)
        assert service.getCounter("Http.timeouts") == 0


def test_client_may_be_slow_where_asked() -> None:
    argv = (*NO_OTHER_LIMITS, "--http-write-timeout", "0")
    with running(Service, *argv) as service, connected(service) as client:
        client.sendall(get("/whole"))
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        check_rest(service)


def test_answer_taken_at_once_costs_no_timer() -> None:
    with running(Service, *NO_OTHER_LIMITS) as service, connected(service) as client:
        for _ in range(3):
            assert ask(client)[0] == 200
        check_rest(service)
