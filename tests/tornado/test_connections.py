"""What becomes of connections: slow clients, silent ones, websockets, and all of them at a stop."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.errors import LoopStoppedError, TaskFailedError
from sparts.tasks.queue import QueueTask
from sparts.tasks.tornado import TornadoIOLoopTask
from sparts.tasks.tornado.server import GracefulHTTPServer
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import ServiceThread, VService
from tornado.web import RequestHandler
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.http_contract import PARTS, UNASKED, frame, rest
from tests.tornado.http_services import (
    HANDSHAKE,
    WAIT,
    Gate,
    Http,
    Service,
    Talk,
    ask,
    ask_once,
    connected,
    port_of,
    read_answer,
    settle,
)


@pytest.fixture(autouse=True)
def fresh() -> None:
    Gate.begun, Gate.go_on = threading.Event(), threading.Event()
    Talk.closed.clear()


@contextlib.contextmanager
def stopping(*argv: str) -> Iterator[ServiceThread]:
    """A service that the block stops; it has to end in order, and soon."""
    thread = make_service(Service, *argv).startBG()
    try:
        yield thread
    finally:
        thread.service.shutdown()
        Gate.go_on.set()
        thread.join(WAIT)
        assert not thread.is_alive()
    assert thread.status == 0


@contextlib.contextmanager
def websocket(service: VService) -> Iterator[socket.socket]:
    """A raw websocket."""
    with connected(service) as raw:
        raw.sendall(HANDSHAKE)
        assert read_answer(raw)[0] == 101
        yield raw


def told_to_stop(thread: ServiceThread) -> VService:
    """Ask for the stop, and return when the server has begun with it."""
    service: VService = thread.service
    service.shutdown()
    assert service.requireTask(Http).stop_event.wait(WAIT)
    with contextlib.suppress(LoopStoppedError):  # as soon as nothing is left to wait for
        settle(service)
    return service


# -- slow clients ----------------------------------------------------------------------------------

QUICK = ("--http-read-timeout", "200ms", "--http-idle-timeout", "300ms")


def test_slow_client_is_closed_in_time() -> None:
    for part in (
        b"GET / HTTP/1.1\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n",
    ):
        with running(Service, *QUICK) as service, connected(service) as client:
            client.sendall(part)
            with contextlib.suppress(ConnectionError):
                while True:  # it is ended by the server, or by pytest's time limit
                    client.sendall(b"x")
                    time.sleep(0.01)  # the pace of a slow client
            assert ask_once(service)[0] == 200


def test_many_slow_clients_hold_nobody_up() -> None:
    with running(Service) as service, contextlib.ExitStack() as stack:
        for part in [*PARTS.values()] * 30:
            stack.enter_context(connected(service)).sendall(part)
        assert ask_once(service)[0] == 200


def test_stuck_tls_handshake_is_ended_in_time(pem: str) -> None:
    with running(Service, *QUICK, "--http-tls-cert", pem) as service:
        for part in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"):
            with connected(service) as client:
                client.sendall(part)
                assert client.recv(1000) == b""
        settle(service)
        assert service.getCounter("Http.timeouts") == 2


def test_long_body_gets_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GracefulHTTPServer, "MIN_BODY_RATE", 1)
    begin = b"POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n" + b"x" * 100
    with (
        running(Service, *QUICK) as service,
        connected(service) as client,
        connected(service) as other,
    ):
        client.sendall(begin)
        assert other.recv(1000) == b""
        client.sendall(b"x")
        assert read_answer(client)[2] == b"101"


def test_no_time_limits_at_all_can_be_had() -> None:
    argv = ("--http-read-timeout", "0", "--http-idle-timeout", "0")
    with running(Service, *argv) as service, connected(service) as client:
        ask(client)
        assert service.requireTask(Http).server._timer is None


def test_a_server_without_connections_has_no_timer() -> None:
    with running(Service) as service:
        with connected(service) as client:
            ask(client, Connection="close")
            assert client.recv(1) == b""
        settle(service)
        assert service.requireTask(Http).server._timer is None


# -- the stop --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [part for part in PARTS if part not in UNASKED])
def test_incomplete_client_does_not_delay_the_stop(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Http, "FIRST_REQUEST_GRACE", 0.05)
    monkeypatch.setattr(GracefulHTTPServer, "STALLED", 0.05)
    with stopping() as thread, connected(thread.service) as client:
        client.sendall(PARTS[part])
        ask_once(thread.service)  # so the other has been accepted
        told_to_stop(thread)
        assert client.recv(1000) == b""


def test_body_during_the_stop_is_answered() -> None:
    with stopping() as thread, connected(thread.service) as client:
        client.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        ask_once(thread.service)
        told_to_stop(thread)
        for _ in range(30):
            client.sendall(b"x" * 10000)
        assert read_answer(client)[2] == b"300000"


def test_pipelined_requests_are_answered_up_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    with stopping() as thread, connected(thread.service) as client:
        client.sendall(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n")
        Gate.begun.wait(WAIT)
        told_to_stop(thread)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        Gate.go_on.set()
        assert read_answer(client)[1]["connection"] == "close"  # so the client sends it again


# -- websockets ------------------------------------------------------------------------------------


def talk(service: VService) -> WebSocketClientConnection:
    """A websocket's client, on the service's own loop."""
    url = f"ws://127.0.0.1:{port_of(service)}/talk"
    loop_task: TornadoIOLoopTask = service.requireTask(TornadoIOLoopTask)
    return loop_task.call(websocket_connect, url).result(WAIT)


def test_a_websocket_is_counted_and_echoes() -> None:
    with running(Service) as service:
        client = talk(service)
        loop_task = service.requireTask(TornadoIOLoopTask)
        loop_task.call(client.write_message, "hello").result(WAIT)
        assert loop_task.call(client.read_message).result(WAIT) == "hello"
        assert service.getCounter('Http.responses{status="1xx"}') == 1
        server = service.requireTask(Http).server
        assert len(server._websockets) == 1
        closed = loop_task.call(client.read_message)
        loop_task.call(client.close, 1000, "done")
        assert closed.result(WAIT) is None
        settle(service)
        assert server._websockets == {}
    assert Talk.closed == [(1000, "done")]


FAILED = b"\x88\x02\x03\xf3"  # a close with 1011


@pytest.mark.parametrize("method", ["open", "on_message"])
@pytest.mark.parametrize("awaited", [True, False], ids=["coroutine", "function"])
def test_a_websocket_whose_handler_fails_is_closed(
    monkeypatch: pytest.MonkeyPatch, method: str, awaited: bool
) -> None:
    def fail(self: Talk, *message: str) -> None:
        raise ValueError("a bug")

    async def fail_later(self: Talk, *message: str) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Talk, method, fail_later if awaited else fail)
    with running(Service) as service, connected(service) as raw:
        raw.sendall(HANDSHAKE)
        if method == "on_message":
            assert raw.recv(12) == b"HTTP/1.1 101"
            raw.sendall(frame(0x81, b"hi"))
        assert rest(raw).endswith(FAILED)
        settle(service)
        assert service.getCounter("Http.connections") == 0


GOING_AWAY = b"\x03\xe9"  # 1001


def test_a_stop_closes_websockets_with_going_away() -> None:
    with stopping() as thread, websocket(thread.service) as raw:
        told_to_stop(thread)
        assert raw.recv(4) == b"\x88\x02" + GOING_AWAY
        raw.sendall(frame(0x88, GOING_AWAY))
        assert raw.recv(1) == b""
    assert Talk.closed == [(1001, None)]


def test_websocket_without_close_is_cut_off() -> None:
    with stopping("--stop-timeout", "1300ms") as thread, websocket(thread.service) as raw:
        thread.service.shutdown()
        assert raw.recv(4) == b"\x88\x02" + GOING_AWAY
        assert raw.recv(1) == b""


# -- too many --------------------------------------------------------------------------------------


class Worker(QueueTask):
    """Fails when it is let go; the items behind that are never done."""

    def execute(self, item: Any, context: Any) -> None:
        Gate.go_on.wait(WAIT)
        raise ValueError("broken")


class Awaiting(RequestHandler):
    """Awaits an item that nobody will work on."""

    async def get(self) -> None:
        task = self.application.task.service.requireTask(Worker)  # type: ignore[attr-defined]
        task.queue.put("fails")
        future = task.submit("waits")
        Gate.go_on.set()
        await future


class AwaitingHttp(Http):
    """Serves that."""

    DEPS = (Worker,)

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/awaits", Awaiting)]


def test_handler_with_a_failed_task_still_answers() -> None:
    thread = make_service(service_of(AwaitingHttp), "--stop-timeout", "60").startBG()
    address = thread.service.requireTask(AwaitingHttp).bound_addrs[0]
    with socket.create_connection(address, WAIT) as client:
        assert ask(client, "/awaits")[0] == 500
    with pytest.raises(TaskFailedError, match="broken"):
        thread.join(WAIT)
    assert thread.status == 1
