"""Hostile frames: who sends them gets an error or is disconnected, and nobody else notices.

The server is a process of its own: what crashes Apache's C code would crash it.
"""

from __future__ import annotations

import re
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated

from tests.thrift.echo import ask_text, read_frame, request, ttypes
from tests.thrift.echo_process import EchoProcess
from tests.thrift.values import everything, mutated

ROOT = Path(__file__).parents[2]
LIMIT = 1 << 20
DEEP = 10_000


class Server(EchoProcess):
    """The process of the echo service."""

    def __init__(self, *argv: str) -> None:
        super().__init__("--thrift-max-frame", str(LIMIT), *argv)
        self.other = self.connect()  # one that does nothing wrong

    def check(self) -> None:
        """See that others are served, on an old connection and on a new one."""
        ask_text(self.other, "still there")
        with self.connect() as fresh:
            ask_text(fresh, "there as well")

    def told_about(self, port: int) -> str:
        """Give the one line that reports a client at this port."""
        self.wait_for_line(f"127.0.0.1:{port}")
        self.check()
        (line,) = (line for line in self.lines if f"127.0.0.1:{port}" in line)
        return line


@pytest.fixture(scope="module", params=["threads", "inline"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(*(["--inline"] if request.param == "inline" else [])) as server, server.other:
        yield server
        assert server.stop(signal.SIGTERM) == 0, server.output


def framed(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def binary(method: bytes, body: bytes, kind: int = 1) -> bytes:
    head = struct.pack(">II", 0x80010000 | kind, len(method)) + method + b"\0\0\0\1"
    return framed(head + body)


def compact(method: bytes, body: bytes) -> bytes:
    return framed(b"\x82\x21\x01" + bytes([len(method)]) + method + body)


HUGE = b"\x7f\xff\xff\xff"  # 2^31 - 1, as the binary protocol has it
HUGE_VARINT = b"\xff\xff\xff\xff\x07"
ENDS = b"\0" * (DEEP + 2)

REFUSED = {
    "a list that claims 2^31": binary(b"everything", b"\x0c\0\1\x0f\0\x0c\x0a" + HUGE + b"\0" * 50),
    "a set that claims 2^31": binary(b"everything", b"\x0c\0\1\x0e\0\x0d\x0b" + HUGE + b"\0" * 50),
    "a map that claims 2^31": binary(
        b"everything", b"\x0c\0\1\x0d\0\x0e\x0b\x0f" + HUGE + b"\0" * 50
    ),
    "a list of less than nothing": binary(b"everything", b"\x0c\0\1\x0f\0\x0c\x0a" + b"\xff" * 8),
    "an unknown list that claims 2^31": binary(b"text", b"\x0f\0\x09\x0c" + HUGE + b"\0" * 50),
    "a string that claims 2^31": binary(b"text", b"\x0b\0\1" + HUGE + b"\0" * 50),
    "a string of less than nothing": binary(b"text", b"\x0b\0\1" + b"\xff" * 8),
    "compact: a list that claims 2^31": compact(b"everything", b"\x1c\xb9\xf6" + HUGE_VARINT),
    "compact: a map that claims 2^31": compact(b"everything", b"\x1c\xdb" + HUGE_VARINT + b"\x8c"),
    "compact: a string that claims 2^31": compact(b"text", b"\x18" + HUGE_VARINT),
    "compact: a number without an end": compact(b"text", b"\x18" + b"\xff" * 50),
    "structs 10,000 deep": binary(b"tree", b"\x0c\0\1" + b"\x0f\0\2\x0c\0\0\0\1" * DEEP + ENDS),
    "unions 10,000 deep": binary(b"shape", b"\x0c\0\1" + b"\x0f\0\3\x0c\0\0\0\1" * DEEP + ENDS),
    "unknown structs 10,000 deep": binary(b"text", b"\x0c\0\x09" * DEEP + ENDS),
    "unknown lists 10,000 deep": binary(b"text", b"\x0f\0\x09" + b"\x0f\0\0\0\1" * DEEP + ENDS),
    "unknown maps 10,000 deep": binary(b"text", b"\x0d\0\x09" + b"\x0d\x0d\0\0\0\1" * DEEP + ENDS),
    "compact: structs 10,000 deep": compact(b"tree", b"\x1c" + b"\x29\x1c" * DEEP + ENDS),
    "compact: unknown structs 10,000 deep": compact(b"text", b"\x9c" * DEEP + ENDS),
    "compact: unknown lists 10,000 deep": compact(b"text", b"\x99" + b"\x19" * DEEP + ENDS),
    "a type that there is not": binary(b"text", b"\x63\0\1\0\0\0\0"),
    "arguments that end too early": binary(b"text", b"\x0b\0\1\0\0\0\7short"),
    "no arguments at all": binary(b"text", b""),
    "an unknown method": binary(b"nothing", b"\0"),
    "an unknown service": binary(b"Nothing:text", b"\0"),
    "a method of 100,000 letters": binary(b"x" * 100_000, b"\0"),
    "a method that is no text": binary(b"\xff\xfe\n\r\0", b"\0"),
    "an answer": binary(b"text", b"\0", kind=2),
    "an exception": binary(b"text", b"\0", kind=3),
    "a kind that there is not": binary(b"text", b"\0", kind=77),
}


@pytest.mark.parametrize("frame", REFUSED.values(), ids=REFUSED)
def test_unanswerable_question_gets_an_answer(server: Server, frame: bytes) -> None:
    with server.connect() as connection:
        port = connection.getsockname()[1]
        for _ in range(3):
            connection.sendall(frame)
            answer = read_frame(connection)
            assert answer[:4] in (b"\x80\1\0\3", b"\x82\x61\x01" + answer[3:4])  # an exception
        ask_text(connection, "it goes on")
    line = server.told_about(port)
    assert re.match(r"WARNING:EchoService.\w+:127.0.0.1:\d+: ", line)
    assert len(line) < 500


UNHEARD = {
    "oneway: an unknown method": binary(b"nothing", b"\0", kind=4),
    "oneway: arguments that end too early": binary(b"tell", b"\x0b\0\1\0\0\0\7s", kind=4),
    "a call of a oneway method, with none": binary(b"tell", b""),
    "compact: an unknown method, oneway": framed(b"\x82\x81\x01\x07nothing\0"),
}


@pytest.mark.parametrize("frame", UNHEARD.values(), ids=UNHEARD)
def test_who_awaits_no_answer_gets_no_error(server: Server, frame: bytes) -> None:
    """It would be taken for the answer to the next call."""
    with server.connect() as connection:
        port = connection.getsockname()[1]
        connection.sendall(frame)
        ask_text(connection, "it goes on")
    assert "WARNING:EchoService." in server.told_about(port)


CLOSED = {
    "a frame of length 0": b"\0\0\0\0",
    "a frame of a negative length": b"\xff\xff\xff\xff" + b"x" * 100,
    "a frame of 2 GB": HUGE + b"x" * 100,
    "a frame just over the limit": struct.pack(">I", LIMIT + 1) + b"x",
    "garbage in a frame": framed(b"garbage without any meaning"),
    "garbage": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 512,
    "a frame of one byte": framed(b"\x80"),
    "a name that is longer than its frame": framed(b"\x80\1\0\1\x7f\xff\xff\xffx"),
    "a version that there is not": framed(b"\x80\2\0\1\0\0\0\4text\0\0\0\1\0"),
    "compact: a version that there is not": framed(b"\x82\x22\x01\x04text\0"),
    "compact: a name without a length": framed(b"\x82\x21" + b"\xff" * 20),
    "an old message whose name is too long": framed(b"\0\0\1\0text\1\0\0\0\1\0"),
}


@pytest.mark.parametrize("data", CLOSED.values(), ids=CLOSED)
def test_who_does_not_speak_thrift_is_disconnected(server: Server, data: bytes) -> None:
    with server.connect() as connection:
        port = connection.getsockname()[1]
        connection.sendall(data)
        with suppress(ConnectionResetError):
            assert connection.recv(1) == b""
    line = server.told_about(port)
    assert re.match(r"WARNING:EchoService.\w+:127.0.0.1:\d+ was closed: ", line)


def test_a_frame_of_exactly_the_limit_is_served(server: Server) -> None:
    frame = request(lambda client: client.send_text(""))
    text = "x" * (LIMIT - (len(frame) - 4))
    assert len(request(lambda client: client.send_text(text))) == LIMIT + 4
    ask_text(server.other, text)


@pytest.mark.parametrize("segment", [8192, 16384, 65536, 131072])
@pytest.mark.parametrize("protocol", ["binary", "compact"])
def test_round_first_segment_is_not_the_end(server: Server, segment: int, protocol: str) -> None:
    text = "x" * (2 * segment)
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if protocol == "binary":
            frame = request(lambda client: client.send_text(text))
        else:
            frame = request(lambda client: client.send_text(text), TCompactProtocolAccelerated)
        connection.sendall(frame[:segment])
        server.check()  # so that it has been read by itself
        connection.sendall(frame[segment:])
        assert text.encode() in read_frame(connection)


def test_one_byte_at_a_time_is_put_together(server: Server) -> None:
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        frame = request(lambda client: client.send_text("bit by bit"))
        for place in range(len(frame)):
            connection.sendall(frame[place : place + 1])
        assert b"bit by bit" in read_frame(connection)


def test_client_that_never_reads_is_not_read(server: Server) -> None:
    server.check()
    before = server.memory()
    frame = request(lambda client: client.send_text("x" * 100_000))
    with server.connect() as connection:
        connection.settimeout(1.0)  # by then the sockets are full; it costs nothing if they were
        sent = 0
        with suppress(TimeoutError):
            while sent < 100_000_000:
                sent += connection.send(frame)
        assert sent < 50_000_000, "It reads from a client that does not read."
        assert server.memory() < before + 30
        server.check()
    server.check()
    assert server.memory() < before + 30


def test_memory_comes_back_from_frames_that_never_end(server: Server) -> None:
    server.check()
    before = server.memory()
    connections = [server.connect() for _ in range(50)]
    for connection in connections:
        connection.sendall(struct.pack(">I", LIMIT) + b"x" * (LIMIT - 1))
    server.check()
    for connection in connections:
        connection.close()
    ask_text(server.other, "x" * 100_000)
    for _ in range(20):
        server.check()
    assert server.memory() < before + 40


TREE = ttypes.Tree(value=1, children=[ttypes.Tree(value=2, children=[])])
VALID = [
    request(lambda client: client.send_text("text")),
    request(lambda client: client.send_everything(everything())),
    request(lambda client: client.send_everything(everything()), TCompactProtocolAccelerated),
    request(lambda client: client.send_tree(TREE)),
    request(lambda client: client.send_ping()),
]


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    return framed(mutated(draw, draw(st.sampled_from(VALID))[4:], 8))


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    frames=st.lists(st.one_of(st.binary(max_size=200), messages()), min_size=1, max_size=5),
    split=st.integers(1, 5000),
)
def test_whatever_is_sent_others_are_served(
    server: Server, frames: list[bytes], split: int
) -> None:
    data = b"".join(frames)
    before = len(server.lines)
    with server.connect() as connection, suppress(OSError):
        for start in range(0, len(data), split):
            connection.sendall(data[start : start + split])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    server.check()
    expected = re.compile("WARNING:EchoService[.]|.* returned None, ")  # an argument was left out
    assert [line for line in server.lines[before:] if not expected.match(line)] == []
    assert server.process.poll() is None
