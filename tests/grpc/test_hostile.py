"""Hostile HTTP/2: after all of it, the next good call is answered, and memory comes back."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import grpc
import pytest
from hpack import Decoder, Encoder
from sparts.net.metering import FULL
from sparts.tasks.grpc import GrpcTask
from sparts.testing.running import running, service_of
from sparts.vservice import VService

from tests.grpc.greeters import LOCAL, GreeterTask, Text, ThreadBase, pb2_grpc, serving, target
from tests.processes import forget_cancelled, kept, resident

DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, GOAWAY, WINDOW, CONTINUATION = (
    0, 1, 2, 3, 4, 6, 7, 8, 9,
)  # fmt: skip
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def headers(path: bytes = b"/sparts.tests.Greeter/Greet", *more: tuple[bytes, bytes]) -> bytes:
    """Return the block of the headers of a call."""
    known = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path)]
    known += [(b":authority", b"here"), (b"te", b"trailers")]
    known += [(b"content-type", b"application/grpc"), *more]
    return Encoder().encode(known, huffman=False)


START = PREFACE + frame(SETTINGS, 0, 0)
BLOCK = headers()
MESSAGE = Text(text="wait", number=3600).SerializeToString()
REQUEST = b"\0" + len(MESSAGE).to_bytes(4) + MESSAGE


@pytest.fixture(scope="module")
def service() -> Iterator[VService]:
    """Give a service that all tests of this module attack."""
    with running(service_of(GreeterTask), *LOCAL) as found:
        yield found


def address(service: VService) -> tuple[str, int]:
    """Return where it listens."""
    (found,) = service.requireTask(GreeterTask).bound_addrs
    return found  # type: ignore[no-any-return]


def attack(service: VService, data: bytes, read: bool = True) -> bytes:
    """Send bytes on a new connection, and return what comes back until it ends or falls silent."""
    answer = bytearray()
    with socket.create_connection(address(service), timeout=20) as connection:
        with contextlib.suppress(ConnectionError, TimeoutError):
            connection.settimeout(5)
            connection.sendall(data)
        if read:
            connection.settimeout(0.3)
            with contextlib.suppress(ConnectionError, TimeoutError):
                while part := connection.recv(65536):
                    answer += part
    return bytes(answer)


def answers(service: VService) -> None:
    """Fail unless a good call is answered."""
    with grpc.insecure_channel(target(service)) as channel:
        stub = pb2_grpc.GreeterStub(channel)
        assert stub.Greet(Text(text="you"), timeout=20).text == "Hello, you"


ATTACKS = {
    "nothing": b"",
    "garbage": b"\xff" * 100_000,
    "http_1": b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    "only_preface": PREFACE,
    "settings_flood": START + frame(SETTINGS, 0, 0) * 100_000,
    "settings_of_no_sense": PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**32 - 1)),
    "settings_of_odd_length": PREFACE + frame(SETTINGS, 0, 0, b"\0" * 7),
    "ping_flood": START + frame(PING, 0, 0, b"12345678") * 100_000,
    "ping_of_wrong_length": START + frame(PING, 0, 0, b"1"),
    "priority_flood": START + frame(PRIORITY, 0, 1, b"\0\0\0\0\1") * 100_000,
    "priority_of_itself": START + frame(PRIORITY, 0, 1, b"\0\0\0\1\1"),
    "empty_data_flood": START + frame(HEADERS, 4, 1, BLOCK) + frame(DATA, 0, 1) * 100_000,
    "window_flood": START + frame(WINDOW, 0, 0, b"\0\0\0\1") * 100_000,
    "window_of_nothing": START + frame(WINDOW, 0, 0, b"\0\0\0\0"),
    "window_overflow": START + frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "continuation_flood": START
    + frame(HEADERS, 0, 1, BLOCK)
    + frame(CONTINUATION, 0, 1, b"") * 10_000,
    "continuation_of_nothing": START + frame(CONTINUATION, 4, 1, BLOCK),
    "header_bomb": START
    + frame(HEADERS, 4, 1, BLOCK + b"\x40\x01a\x7f\xe1\x1e" + b"x" * 4000 + b"\xbe" * 10_000),
    "header_of_no_end": START + frame(HEADERS, 4, 1, headers(b"/", (b"x", b"y" * 16_000))[:16_000]),
    "header_not_text": START + frame(HEADERS, 5, 1, headers(b"/\xff\xfe", (b"\xff", b"\xff"))),
    "header_index_of_nothing": START + frame(HEADERS, 4, 1, b"\xff\xff\xff\xff\x0f"),
    "no_pseudo_headers": START + frame(HEADERS, 5, 1, Encoder().encode([(b"a", b"b")])),
    "even_stream": START + frame(HEADERS, 5, 2, BLOCK),
    "old_stream": START + frame(HEADERS, 5, 9, BLOCK) + frame(HEADERS, 5, 1, BLOCK),
    "data_on_no_stream": START + frame(DATA, 0, 0, b"x"),
    "data_on_idle_stream": START + frame(DATA, 0, 1, b"x"),
    "wrong_padding": START + frame(HEADERS, 12, 1, b"\xff" + BLOCK),
    "oversize_frame": START + frame(DATA, 0, 1, b"x" * 100_000),
    "oversize_message": START
    + frame(HEADERS, 4, 1, BLOCK)
    + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff"),
    "message_cut_short": START + frame(HEADERS, 4, 1, BLOCK) + frame(DATA, 1, 1, REQUEST[:-1]),
    "two_messages": START + frame(HEADERS, 4, 1, BLOCK) + frame(DATA, 1, 1, REQUEST * 2),
    "no_message": START + frame(HEADERS, 5, 1, BLOCK),
    "wrong_compression": START
    + frame(HEADERS, 4, 1, headers(b"/sparts.tests.Greeter/Greet", (b"grpc-encoding", b"zzz")))
    + frame(DATA, 1, 1, b"\1" + REQUEST[1:]),
    "wrong_flag": START + frame(HEADERS, 4, 1, BLOCK) + frame(DATA, 1, 1, b"\7" + REQUEST[1:]),
    "wrong_timeout": START
    + frame(HEADERS, 5, 1, headers(b"/sparts.tests.Greeter/Greet", (b"grpc-timeout", b"1x"))),
    "unknown_frame": START + frame(200, 255, 1, b"x" * 100),
    "push_promise": START + frame(5, 4, 1, b"\0\0\0\2" + BLOCK),
    "goaway": START + frame(HEADERS, 4, 1, BLOCK) + frame(GOAWAY, 0, 0, b"\0" * 8),
    "reset_of_idle_stream": START + frame(RESET, 0, 1, b"\0\0\0\x08"),
    "rapid_reset": START
    + b"".join(
        frame(HEADERS, 4, stream, BLOCK) + frame(RESET, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 20_001, 2)
    ),
    "rapid_reset_of_begun_calls": START
    + b"".join(
        frame(HEADERS, 4, stream, BLOCK)
        + frame(DATA, 1, stream, REQUEST)
        + frame(RESET, 0, stream, b"\0\0\0\x08")
        for stream in range(1, 20_001, 2)
    ),
    "too_many_streams": START
    + b"".join(
        frame(HEADERS, 4, stream, BLOCK) + frame(DATA, 1, stream, REQUEST)
        for stream in range(1, 601, 2)
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_good_call_follows_every_attack(service: VService, name: str) -> None:
    """And no call of the attacker stays."""
    attack(service, ATTACKS[name])
    answers(service)
    task: Any = service.requireTask(GreeterTask)
    assert task.loop_task.n_callback_errors() == 0


@pytest.mark.parametrize(
    "name",
    ["settings_flood", "ping_flood", "priority_flood", "rapid_reset", "rapid_reset_of_begun_calls",
     "empty_data_flood", "header_bomb", "continuation_flood", "too_many_streams"],
)  # fmt: skip
def test_floods_are_disconnected(name: str) -> None:
    """And counted."""
    with running(service_of(GreeterTask), *LOCAL) as service:
        attack(service, ATTACKS[name])
        answers(service)
        assert service.getCounters()["GreeterTask.broken"] == 1


def test_client_that_never_reads_is_not_read_from(service: VService) -> None:
    """Its pings have no answers in our memory."""
    with socket.create_connection(address(service), timeout=20) as connection:
        connection.settimeout(1)
        pings = frame(PING, 0, 0, b"12345678") * 900
        connection.sendall(START)
        with contextlib.suppress(ConnectionError, TimeoutError):
            for _ in range(10):
                connection.sendall(pings)
        answers(service)


def test_memory_comes_back_from_unfinished_requests() -> None:
    """One connection holds a bounded part of it."""
    argv = [*LOCAL, "--grpc-max-message", "1MiB"]
    with running(service_of(GreeterTask), *argv) as service:
        answers(service)
        before = resident()
        begun = b"\0" + (1_000_000).to_bytes(4) + b"x" * 900_000
        with socket.create_connection(address(service), timeout=20) as connection:
            connection.settimeout(2)
            connection.sendall(START + frame(WINDOW, 0, 0, b"\x0f\xff\xff\xff"))
            with contextlib.suppress(ConnectionError, TimeoutError):
                for stream in range(1, 200, 2):
                    connection.sendall(frame(HEADERS, 4, stream, BLOCK))
                    for start in range(0, len(begun), 16_000):
                        connection.sendall(frame(DATA, 0, stream, begun[start : start + 16_000]))
            answers(service)
            assert resident() - before < 60_000
        answers(service)
    assert resident() - before < 40_000


def test_nothing_of_a_hostile_client_is_kept() -> None:
    """Of a third of the attacks, and floods are cut short: they take long."""
    with running(service_of(GreeterTask), *LOCAL) as service:
        task: Any = service.requireTask(GreeterTask)
        loop = task.loop_task

        def attack_once() -> None:
            for data in list(ATTACKS.values())[::3]:
                with socket.create_connection(address(service), timeout=20) as connection:
                    connection.settimeout(0.005)
                    with contextlib.suppress(ConnectionError, TimeoutError):
                        connection.sendall(data[:20_000])
                        connection.recv(65536)
            with socket.create_connection(address(service), timeout=20) as last:
                last.sendall(bytes(100))  # its end comes when all before it have been accepted
                while last.recv(65536):
                    pass
            while task.connections() or task.in_flight():
                loop.call(lambda: None).result(20)
            loop.call(forget_cancelled, loop.loop).result(20)

        logging.disable()  # pytest keeps what is logged
        try:
            objects, size = kept(attack_once, rounds=5)
        finally:
            logging.disable(logging.NOTSET)
        assert objects == {}
        assert size < 20_000


def test_connection_without_a_call_is_closed() -> None:
    """After a time."""
    argv = [*LOCAL, "--grpc-first-call-timeout", "0.1"]
    with (
        running(service_of(GreeterTask), *argv) as service,
        socket.create_connection(address(service), timeout=20) as connection,
    ):
        while connection.recv(65536):
            pass


def begun(service: VService, size: int) -> socket.socket:
    """Call, send a message but for its last byte, and keep the connection."""
    connection = socket.create_connection(address(service), timeout=20)
    data = b"\0" + size.to_bytes(4) + bytes(size - 1)
    parts = [data[start : start + 16_000] for start in range(0, len(data), 16_000)]
    frames = b"".join(frame(DATA, 0, 1, part) for part in parts)
    connection.sendall(START + frame(HEADERS, 4, 1, BLOCK) + frames)
    return connection


def status_of(connection: socket.socket) -> tuple[str, str] | None:
    """End a connection; return the status and the message that its call had, if any."""
    connection.shutdown(socket.SHUT_WR)
    with connection.makefile("rb") as stream:
        while head := stream.read(9):
            payload = stream.read(int.from_bytes(head[:3]))
            if head[3] == HEADERS:
                found: dict[Any, Any] = dict(Decoder().decode(payload))
                return found["grpc-status"], unquote(found["grpc-message"])
    return None


def test_unfinished_requests_of_all_connections_have_one_limit() -> None:
    argv = [*LOCAL, "--grpc-max-message", "1MiB", "--grpc-max-memory", "4MiB"]
    with running(service_of(GreeterTask), *argv) as service, contextlib.ExitStack() as stack:
        task: Any = service.requireTask(GreeterTask)
        held = [stack.enter_context(begun(service, 800_000)) for _ in range(12)]
        while task.calls_server.requests.n_refused < 7:
            task.loop_task.call(lambda: None).result(20)
        assert task.requests_refused() == 7
        assert task.calls_server.requests.taken <= 4 << 20
        answers(service)
        assert list(map(status_of, held)).count(("8", FULL)) == 7  # RESOURCE_EXHAUSTED
    assert task.calls_server.requests.taken == 0


def test_requests_that_wait_for_a_thread_count_too() -> None:
    argv = ["--grpc-threads", "1", "--grpc-max-memory", "5MiB"]
    go_on = threading.Event()

    class Gate(ThreadBase):  # type: ignore[misc]
        def Greet(self, request: Any, context: Any) -> Any:  # noqa: N802
            go_on.wait(20)
            return Text()

    gated: Any = type("GreeterTask", (GrpcTask,), {"SERVICERS": (Gate,)})
    with serving(*argv, of=service_of(gated)) as (service, channel):
        task = service.requireTask(gated)
        stub = pb2_grpc.ThreadGreeterStub(channel)
        request = Text(text="x" * (2 << 20))
        calls = [stub.Greet.future(request, timeout=20) for _ in range(4)]
        while task.requests_refused() < 2:
            task.loop_task.call(lambda: None).result(20)
        go_on.set()
        codes = [call.code() for call in calls]
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 2
        assert codes.count(grpc.StatusCode.OK) == 2
        assert task.calls_server.requests.taken == 0


def test_memory_comes_back_from_stream_that_goes_on() -> None:
    with serving() as (service, channel):
        task, go_on = service.requireTask(GreeterTask), threading.Event()

        def requests() -> Iterator[Any]:
            yield Text(text="x" * 100_000)
            go_on.wait(20)

        call = pb2_grpc.GreeterStub(channel).Echo(requests(), timeout=20)
        assert len(next(call).text) == 100_000
        taken = task.loop_task.call(lambda: task.calls_server.requests.taken).result(20)
        go_on.set()
        assert (taken, list(call)) == (0, [])
