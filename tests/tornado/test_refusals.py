"""Requests that are not taken: the client gets to read why, also while it still sends."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.tasks.tornado.server import GracefulHTTPServer
from sparts.testing.running import make_service, running, service_of
from tornado.web import HTTPError, RequestHandler, stream_request_body

from tests.certificates import over_tls
from tests.http_contract import post
from tests.tornado.http_services import (
    WAIT,
    Http,
    Service,
    Upload,
    ask_once,
    connected,
    read_answer,
    settle,
)

LONG = 20_000_000  # more than the buffers of both sides hold
LIMIT = ("--http-max-body", "1000")


def by_length(path: str) -> Iterator[bytes]:
    yield f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {LONG}\r\n\r\n".encode()
    yield bytes(LONG)


def in_chunks(path: str) -> Iterator[bytes]:
    yield f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    yield b"".join(b"fa\r\n%s\r\n" % bytes(250) for _ in range(LONG // 250))
    yield b"0\r\n\r\n"


@pytest.mark.parametrize("framing", [by_length, in_chunks])
@pytest.mark.parametrize("path", ["/echo/", "/upload"])
@pytest.mark.parametrize("tls", [False, True])
def test_too_long_body_gets_a_readable_413(
    framing: Any, path: str, tls: bool, pem: str, caplog: pytest.LogCaptureFixture
) -> None:
    argv = (*LIMIT, "--http-tls-cert", pem) if tls else LIMIT
    with running(Service, *argv) as service, contextlib.ExitStack() as stack:
        client: socket.socket = stack.enter_context(connected(service))
        if tls:
            client = stack.enter_context(over_tls(client))
        for part in framing(path):
            client.sendall(part)
        status, headers, body = read_answer(client)
        assert (status, headers["connection"]) == (413, "close")
        assert body == b"The body is longer than 1000 bytes.\n"
        assert re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", headers["x-request-id"])
        assert client.recv(1) == b""
        settle(service)
        assert service.getCounter('Http.responses{status="4xx"}') == 1
        assert service.getCounter("Http.requests") == 1
    (line,) = [record for record in caplog.records if record.name == "Service.Http.access"]
    assert line.levelno == logging.WARNING
    assert line.getMessage().startswith(f"413 POST {path} (127.0.0.1)")


@pytest.mark.parametrize("path", ["/echo/", "/upload"])
def test_too_long_chunks_are_refused_at_once(path: str) -> None:
    with running(Service, *LIMIT) as service, connected(service) as client:
        client.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n"
        )  # fmt: skip
        assert read_answer(client)[0] == 413


def test_nothing_that_follows_a_refused_body_is_answered() -> None:
    for end in (b"0\r\n\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"):
        with running(Service, *LIMIT) as service, connected(service) as client:
            client.sendall(
                b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"3e9\r\n" + b"x" * 1001 + b"\r\n" + end + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            )
            with client.makefile("rb") as answers:
                assert answers.read().count(b"HTTP/1.1 ") == 1
            settle(service)
            assert service.getCounter("Http.requests") == 1


def test_too_long_body_gets_no_100_continue() -> None:
    with running(Service, *LIMIT) as service:
        asked = ask_once(
            service, "/echo/", method="POST", Expect="100-continue", Content_Length=str(LONG)
        )
    assert asked[0] == 413


class Generous(Upload):
    """Takes more than others."""

    def prepare(self) -> None:
        super().prepare()
        self.request.connection.set_max_body_size(LONG)  # type: ignore[union-attr]


class LaterGenerous(Upload):
    """Takes more than others, once it has waited for something."""

    async def prepare(self) -> None:  # type: ignore[override]
        super().prepare()
        self.request.connection.set_max_body_size(LONG)  # type: ignore[union-attr]


@stream_request_body
class Guarded(RequestHandler):
    """Lets nobody in, and reads nothing."""

    def prepare(self) -> None:
        raise HTTPError(401)


class Strict(Http):
    """Handlers that decide in `prepare`."""

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [
            ("/generous", Generous),
            ("/later", LaterGenerous),
            ("/guarded", Guarded),
            *super().getApplicationConfig(),
        ]


Strict.__name__ = "Http"
StrictService = service_of(Strict)


@pytest.mark.parametrize("framing", [by_length, in_chunks])
@pytest.mark.parametrize("path", ["/generous", "/later"])
def test_a_handler_may_raise_the_limit_for_itself(framing: Any, path: str) -> None:
    with running(StrictService, *LIMIT) as service, connected(service) as client:
        for part in framing(path):
            client.sendall(part)
        assert read_answer(client)[2] == str(LONG).encode()


@pytest.mark.parametrize("framing", [by_length, in_chunks])
def test_early_answer_can_be_read(framing: Any) -> None:
    with running(StrictService, "--http-max-body", "1GiB") as service, connected(service) as client:
        for part in framing("/guarded"):
            client.sendall(part)
        assert read_answer(client)[0] == 401
        assert client.recv(1) == b""


def test_a_broken_chunk_is_answered_although_more_follows() -> None:
    with running(Service) as service, connected(service) as client:
        begin = b"POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.sendall(begin + b"zz\r\n" + bytes(LONG))
        assert read_answer(client)[0] == 400


@pytest.mark.parametrize("length", [1000, 2000, LONG])
def test_too_long_headers_get_a_readable_431(length: int) -> None:
    with running(Service, "--http-max-headers", "1000") as service:
        assert ask_once(service, X_Long="x" * 800)[0] == 200
        with connected(service) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * length + b"\r\n\r\n")
            status, headers, body = read_answer(client)
            assert (status, headers["connection"]) == (431, "close")
            assert body == b"The headers are longer than 1000 bytes.\n"
            assert client.recv(1) == b""


def test_refused_client_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GracefulHTTPServer, "LINGER", 0.1)
    with running(Service, *LIMIT) as service, connected(service) as client:
        client.sendall(next(by_length("/echo/")))
        assert read_answer(client)[0] == 413
        with contextlib.suppress(ConnectionError):
            while True:  # it is ended by the server, or by pytest's time limit
                client.sendall(bytes(100_000))
        settle(service)
        assert service.getCounter("Http.connections") == 0


def test_whoever_was_refused_is_counted_until_it_closes() -> None:
    with running(Service, *LIMIT) as service:
        with connected(service) as client:
            client.sendall(next(by_length("/echo/")))
            assert read_answer(client)[0] == 413
            settle(service)
            assert service.getCounter("Http.connections") == 1
        settle(service)
        assert service.getCounter("Http.connections") == 0
        assert service.requireTask(Http).server._timer is None


def test_whoever_was_refused_does_not_hold_up_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http, "FIRST_REQUEST_GRACE", 0.05)
    thread = make_service(Service, *LIMIT, "--stop-timeout", "0").startBG()
    with connected(thread.service) as client:
        client.sendall(next(by_length("/echo/")))
        assert read_answer(client)[0] == 413
        thread.service.shutdown()
        thread.join(WAIT)
        assert not thread.is_alive()


def test_streamed_bodies_take_no_memory() -> None:
    argv = ("--http-max-memory", "1MiB", "--http-max-body", "600KiB")
    with running(Service, *argv) as service, contextlib.ExitStack() as stack:
        held = [stack.enter_context(connected(service)) for _ in range(6)]
        for client in held:
            client.sendall(post("/upload", bytes(399_999), size=400_000))
        for client in held:
            client.sendall(b"x")
            assert read_answer(client)[2] == b"400000"
        assert service.requireTask(Http).server.requests.n_refused == 0
