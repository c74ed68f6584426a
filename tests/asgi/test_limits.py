"""Clients that send too much, too slowly, or no HTTP; the next good request is answered."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
from typing import Any

import pytest
from sparts.testing import log_of
from sparts.testing.waiting import WAIT

from tests.asgi.test_requests import raw
from tests.http_contract import rest
from tests.processes import forget_cancelled, kept

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
LIMITS = ("--asgi-max-body", "1000", "--asgi-max-headers", "2000")
POST = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
WHOLE = HEAD + b"\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (POST + b"Content-Length: 1000\r\nConnection: close\r\n\r\n" + b"x" * 1000, 200),
        (POST + b"Content-Length: 1001\r\n\r\n" + b"x" * 1001, 413),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
        (CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", 413),
        (CHUNKED + b"64\r\n" + (b"x" * 100 + b"\r\n64\r\n") * 20, 413),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, 413),
        (HEAD + b"X: " + b"x" * 1000 + b"\r\nConnection: close\r\n\r\n", 200),
        (HEAD + b"X: " + b"x" * 2000 + b"\r\n\r\n", 431),
        (HEAD + b"X: 1\r\n" * 1000, 431),
        (HEAD + b"X: " + b"x" * 100_000, 431),
        (b"GET /" + b"x" * 3000, 431),
        (b"no HTTP at all\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (HEAD + b"Content-Length: -1\r\n\r\n", 400),
        (CHUNKED + b"xyz\r\n", 400),
        (HEAD + b"A\0: 1\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_what_is_too_much_or_wrong_is_refused(serve: Any, sent: bytes, status: int) -> None:
    served = serve(*LIMITS)
    answer = raw(served, sent)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert served.get("/") == (200, b"hello")


def test_refusal_is_counted_and_logged(serve: Any) -> None:
    served = serve(*LIMITS)
    with log_of(served.service) as log:
        raw(served, POST + b"Content-Length: 5000\r\n\r\n")
        log.wait_for_line(r"WARNING:Service.AsgiTask.access:413 POST /echo \(127.0.0.1\)")
        raw(served, b"nonsense\r\n\r\n")
        log.wait_for_line(r"WARNING:Service.AsgiTask.access:400   \(127.0.0.1\)")
    served.wait_for_counter('responses{status="4xx"}', 2)
    served.wait_for_counter("in_flight", 0)


def test_refusal_waits_for_the_responses_before_it(serve: Any) -> None:
    served = serve(*LIMITS)
    with served.connect() as connection:
        slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
        connection.sendall(slow + POST + b"Content-Length: 5000\r\n\r\n")
        served.wait_for(served.board.begun)
        served.go_on()
        answer = rest(connection)
    first, second = answer.split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"200")
    assert first.endswith(b"slow")
    assert second.startswith(b"413")


def test_client_reads_why_although_it_goes_on_sending(serve: Any) -> None:
    served = serve("--asgi-max-body", "1000")
    with served.connect() as connection:
        connection.sendall(POST + b"Content-Length: 30000000\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(300):
                connection.sendall(b"x" * 100_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "sent",
    [b"1\r\na\r\n0\r\n" + b"x: y\r\n" * 1000, b"0\r\nx: " + b"y" * 5000, b"1;" + b"x" * 5000],
    ids=["trailers", "trailer", "extension"],
)
@pytest.mark.parametrize("path", [b"/echo", b"/"], ids=["", "after the response"])
def test_what_comes_beside_a_body_is_limited(serve: Any, sent: bytes, path: bytes) -> None:
    served = serve(*LIMITS)
    with served.connect() as connection:
        connection.sendall(CHUNKED.replace(b"/echo", path))
        if path == b"/":
            assert connection.recv(65536).endswith(b"hello")
        else:
            served.wait_for_counter("in_flight", 1)
        connection.sendall(sent)
        answer = rest(connection)
    assert answer.startswith(b"HTTP/1.1 431 ") if path == b"/echo" else answer == b""
    assert served.get("/") == (200, b"hello")


def test_body_in_small_chunks_is_taken(serve: Any) -> None:
    served = serve(*LIMITS)
    with served.connect() as connection:
        connection.sendall(CHUNKED)
        served.wait_for_counter("in_flight", 1)
        connection.sendall(b"1\r\nx\r\n" * 900 + b"0\r\nX-Sum: 1\r\n\r\n")
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = rest(connection)
    assert b"x" * 900 in answer
    assert answer.endswith(b"hello")


@pytest.mark.parametrize("size", [50_000, 500_000])
def test_body_may_come_after_its_response(serve: Any, size: int) -> None:
    served = serve("--asgi-max-headers", "2000")
    with served.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall(
            b"POST /missing HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
        )
        assert answers.readline().startswith(b"HTTP/1.1 404")
        connection.sendall(b"x" * size)
        connection.sendall(HEAD + b"Connection: close\r\n\r\n")
        rest_of_both = answers.read()
    assert b"HTTP/1.1 200" in rest_of_both
    assert b"431" not in rest_of_both


def test_too_long_late_body_gets_no_second_response(serve: Any) -> None:
    served = serve(*LIMITS)
    with served.connect() as connection, connection.makefile("rb") as answers:
        connection.sendall(b"POST /missing" + CHUNKED[10:])
        assert answers.readline().startswith(b"HTTP/1.1 404")
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
            assert b"HTTP/1.1" not in answers.read()
    served.wait_for_counter("requests", 1)


HOSTILE = [
    b"", b"GET /", HEAD, b"no HTTP\r\n\r\n", WHOLE, WHOLE * 20, WHOLE + HEAD + b"A\0: 1\r\n\r\n",
    POST + b"Content-Length: 90000\r\n\r\n" + b"x" * 80_000, CHUNKED + b"a\r\n123",
    POST + b"Content-Length: 200000\r\n\r\n", HEAD + b"X: " + b"x" * 3000,
    POST + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", b"GET /large" + WHOLE[5:],
    b"GET /broken" + WHOLE[5:], b"GET /broken-late" + WHOLE[5:], b"GET /disconnect" + WHOLE[5:],
    UPGRADE + b"\r\n", UPGRADE + KEY, UPGRADE + KEY + b"\x81\x85abcd\x81\x01no mask",
    UPGRADE + KEY + b"\x81\xfe\xff\xffabcd", b"GET /broken" + UPGRADE[5:] + KEY,
    WHOLE + UPGRADE + KEY + b"\x88\x80abcd",
]  # fmt: skip


def test_nothing_of_a_hostile_client_is_kept(serve: Any) -> None:
    served = serve("--asgi-max-body", "100K", "--asgi-max-headers", "2000")
    loop = served.service.requireTask("AsyncioLoopTask")

    def attack() -> None:
        for sent in HOSTILE:
            with served.connect() as connection, contextlib.suppress(ConnectionError):
                connection.sendall(sent)
                connection.settimeout(0.01)
                with contextlib.suppress(TimeoutError):
                    connection.recv(1000)
        assert served.get("/") == (200, b"hello")  # all before it have been accepted
        served.wait_for_counter("connections", 0)
        served.wait_for_counter("in_flight", 0)
        loop.call(forget_cancelled, loop.loop).result(WAIT)

    logging.disable()  # pytest keeps what is logged
    try:
        objects, size = kept(attack, rounds=5)
    finally:
        logging.disable(logging.NOTSET)
    assert objects == {}
    assert size < 20_000
    assert served.get("/") == (200, b"hello")


def test_client_leaving_large_response_is_not_logged(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"GET /unread" + WHOLE[5:])
        connection.recv(1000)
    served.board.left.set()
    served.wait_for_counter('responses{status="lost"}', 1)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


def test_memory_for_bodies_can_be_unlimited(serve: Any) -> None:
    served = serve("--asgi-max-memory", "0")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            client = stack.enter_context(served.connect())
            client.sendall(POST + b"Content-Length: 9000000\r\n\r\n" + b"x" * 4_500_000)
        served.wait_for_counter("in_flight", 3)
    assert served.counter("bodies_refused") == 0
