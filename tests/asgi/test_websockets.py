"""Websockets by a raw client: handshakes, frames and closes, good and bad ones."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import Any

import pytest
from sparts.testing import log_of, restart, wait_for_event

from tests.asgi.conftest import Served

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    masked: bool = True,
    reserved: int = 0,
    length: bytes = b"",
) -> bytes:
    """Return a frame, as a client sends it; ``length`` replaces how its length is written."""
    first = bytes([(0x80 if fin else 0) | reserved << 4 | opcode])
    if not length:
        size = len(payload)
        if size < 126:
            length = bytes([size])
        elif size < 65536:
            length = b"\x7e" + struct.pack("!H", size)
        else:
            length = b"\x7f" + struct.pack("!Q", size)
    if not masked:
        return first + length + payload
    mask = os.urandom(4)
    hidden = bytes(each ^ mask[number % 4] for number, each in enumerate(payload))
    return first + bytes([length[0] | 0x80]) + length[1:] + mask + hidden


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Raw:
    """One connection of a raw client."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.stream = connection.makefile("rb")

    def handshake(self, path: str = "/", **changes: Any) -> tuple[int, dict[str, str]]:
        """Send a handshake, some of whose headers are changed, and return the answer."""
        headers: dict[str, str | None] = {
            "Host": "x",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        headers |= {name.replace("_", "-"): value for name, value in changes.items()}
        lines = [f"GET {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        status = int(self.stream.readline().split()[1])
        found = {}
        while line := self.stream.readline().strip().decode():
            name, _, value = line.partition(": ")
            found[name.lower()] = value
        return status, found

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def receive(self) -> tuple[int, bytes] | None:
        """Return the next frame of the server: opcode and payload; None: the end."""
        try:
            head = self.stream.read(2)
            if len(head) < 2:
                return None
            size = head[1] & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", self.stream.read(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", self.stream.read(8))
            return head[0] & 0xF, self.stream.read(size)
        except ConnectionResetError:
            return None

    def outcome(self) -> list[tuple[int, bytes] | int | None]:
        """Return what comes until the end: messages, and the code of a close."""
        found: list[tuple[int, bytes] | int | None] = []
        while (received := self.receive()) is not None:
            opcode, payload = received
            if opcode == CLOSE:
                found.append(struct.unpack("!H", payload[:2])[0] if payload else None)
            else:
                found.append(received)
        return found


@contextlib.contextmanager
def opened(served: Served, path: str = "/", **headers: Any) -> Any:
    with served.connect() as connection:
        client = Raw(connection)
        with client.stream:
            assert client.handshake(path, **headers)[0] == 101
            yield client


# What is sent, and what comes back until the end.
BYE = close(1000)
SAID = (TEXT, b"hi")
FRAMES: dict[str, tuple[bytes, list[Any]]] = {
    "text": (frame(TEXT, b"hi") + BYE, [SAID, 1000]),
    "binary": (frame(BINARY, b"\0\xff") + BYE, [(BINARY, b"\0\xff"), 1000]),
    "empty text": (frame(TEXT) + BYE, [(TEXT, b""), 1000]),
    "empty binary": (frame(BINARY) + BYE, [(BINARY, b""), 1000]),
    "text of UTF-8": (frame(TEXT, "é€😀".encode()) + BYE, [(TEXT, "é€😀".encode()), 1000]),
    "125 bytes": (frame(BINARY, b"x" * 125) + BYE, [(BINARY, b"x" * 125), 1000]),
    "126 bytes": (frame(BINARY, b"x" * 126) + BYE, [(BINARY, b"x" * 126), 1000]),
    "127 bytes": (frame(BINARY, b"x" * 127) + BYE, [(BINARY, b"x" * 127), 1000]),
    "65,535 bytes": (frame(BINARY, b"x" * 65535) + BYE, [(BINARY, b"x" * 65535), 1000]),
    "65,536 bytes": (frame(BINARY, b"x" * 65536) + BYE, [(BINARY, b"x" * 65536), 1000]),
    "a million bytes": (frame(BINARY, b"x" * 10**6) + BYE, [(BINARY, b"x" * 10**6), 1000]),
    "two messages": (frame(TEXT, b"hi") * 2 + BYE, [SAID, SAID, 1000]),
    "text in two parts": (
        frame(TEXT, b"h", fin=False) + frame(0, b"i") + BYE, [SAID, 1000]),
    "text in three parts": (
        frame(TEXT, b"h", fin=False) + frame(0, b"", fin=False) + frame(0, b"i") + BYE,
        [SAID, 1000]),
    "a character in two parts": (
        frame(TEXT, b"\xc3", fin=False) + frame(0, b"\xa9") + BYE, [(TEXT, "é".encode()), 1000]),
    "binary in two parts": (
        frame(BINARY, b"h", fin=False) + frame(0, b"i") + BYE, [(BINARY, b"hi"), 1000]),
    "a ping between parts": (
        frame(TEXT, b"h", fin=False) + frame(PING, b"p") + frame(0, b"i") + BYE,
        [(PONG, b"p"), SAID, 1000]),
    "a pong between parts": (
        frame(TEXT, b"h", fin=False) + frame(PONG) + frame(0, b"i") + BYE, [SAID, 1000]),
    "a ping": (frame(PING) + BYE, [(PONG, b""), 1000]),
    "a ping with a payload": (frame(PING, b"x" * 125) + BYE, [(PONG, b"x" * 125), 1000]),
    "ten pings": (frame(PING, b"p") * 10 + BYE, [(PONG, b"p")] * 10 + [1000]),
    "a pong that was not asked for": (frame(PONG, b"x") + BYE, [1000]),
    "the longest close": (close(1000, b"r" * 123), [1000]),
    "a close without a code": (close(), [None]),
    "close 1001": (close(1001), [1001]),
    "close 1011 with a reason": (close(1011, b"why"), [1011]),
    "close 3000": (close(3000), [3000]),
    "close 4999": (close(4999), [4999]),
    "a message after the close": (close(1000) + frame(TEXT, b"hi"), [1000]),
    "the application closes": (frame(TEXT, b"close") + close(4001), [4001]),
    # protocol errors
    "a reserved bit": (frame(TEXT, b"hi", reserved=2), [1002]),
    "another reserved bit": (frame(TEXT, b"hi", reserved=1), [1002]),
    "an unknown opcode 3": (frame(3, b"hi"), [1002]),
    "an unknown opcode 7": (frame(7), [1002]),
    "an unknown control opcode 11": (frame(0xB), [1002]),
    "an unknown control opcode 15": (frame(0xF), [1002]),
    "a frame without a mask": (frame(TEXT, b"hi", masked=False), [1002]),
    "a ping without a mask": (frame(PING, masked=False), [1002]),
    "a close without a mask": (frame(CLOSE, b"\x03\xe8", masked=False), [1002]),
    "a continuation of nothing": (frame(0, b"hi"), [1002]),
    "an unfinished continuation of nothing": (frame(0, b"hi", fin=False), [1002]),
    "text within text": (frame(TEXT, b"h", fin=False) + frame(TEXT, b"i"), [1002]),
    "binary within text": (frame(TEXT, b"h", fin=False) + frame(BINARY, b"i"), [1002]),
    "a ping in parts": (frame(PING, fin=False), [1002]),
    "a close in parts": (frame(CLOSE, fin=False), [1002]),
    "a pong in parts": (frame(PONG, fin=False), [1002]),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), [1002]),
    "a close of 126 bytes": (frame(CLOSE, b"\x03\xe8" + b"x" * 124), [1002]),
    "a close of one byte": (frame(CLOSE, b"\x03"), [1002]),
    "close 0": (close(0), [1002]),
    "close 999": (close(999), [1002]),
    "close 1004": (close(1004), [1002]),
    "close 1005": (close(1005), [1002]),
    "close 1006": (close(1006), [1002]),
    "close 1015": (close(1015), [1002]),
    "close 2999": (close(2999), [1002]),
    "close 5000": (close(5000), [1002]),
    # payloads
    "text that is not UTF-8": (frame(TEXT, b"\xff\xfe"), [1007]),
    "text that ends in a character": (frame(TEXT, b"\xc3"), [1007]),
    "text with a surrogate": (frame(TEXT, b"\xed\xa0\x80"), [1007]),
    "not UTF-8 in the second part": (
        frame(TEXT, b"h", fin=False) + frame(0, b"\xff"), [1007]),
    "a reason that is not UTF-8": (close(1000, b"\xff"), [1007]),
    "more than the limit": (frame(BINARY, length=b"\x7f" + struct.pack("!Q", 10**7)), [1009]),
    "more than the limit in parts": (
        frame(BINARY, b"x" * 1_500_000, fin=False) + frame(0, b"x" * 1_500_000), [1009]),
    "a length of 2**63": (frame(BINARY, length=b"\x7f" + struct.pack("!Q", 2**63)), [1009]),
}  # fmt: skip

HANDSHAKES: dict[str, tuple[dict[str, str | None], int]] = {
    "a plain one": ({}, 101),
    "lower case": ({"Upgrade": "WEBSOCKET", "Connection": "upgrade"}, 101),
    "one of two connection tokens": ({"Connection": "keep-alive, Upgrade"}, 101),
    "without a key": ({"Sec_WebSocket_Key": None}, 400),
    "a short key": ({"Sec_WebSocket_Key": "YWJj"}, 400),
    "a key that is not base64": ({"Sec_WebSocket_Key": "!" * 24}, 400),
    "without a version": ({"Sec_WebSocket_Version": None}, 400),
    "version 8": ({"Sec_WebSocket_Version": "8"}, 400),
    "version 99": ({"Sec_WebSocket_Version": "99"}, 400),
}


@pytest.fixture
def served(serve: Any) -> Served:
    found: Served = serve(MAX_MESSAGE=2_000_000)
    return found


@pytest.mark.parametrize(("sent", "expected"), FRAMES.values(), ids=FRAMES.keys())
def test_frames_get_their_answer_and_next_client_too(
    served: Served, sent: bytes, expected: list[Any]
) -> None:
    with opened(served) as client:
        with contextlib.suppress(ConnectionError):
            client.send(sent.removesuffix(BYE))
        found: list[Any] = []
        if sent.endswith(BYE):  # which the client sends when it has its answers
            found = [client.receive() for _ in expected[:-1]]
            client.send(BYE)
        assert found + client.outcome() == expected
    with opened(served) as client:
        client.send(frame(TEXT, b"hi"))
        assert client.receive() == SAID


@pytest.mark.parametrize(("changes", "status"), HANDSHAKES.values(), ids=HANDSHAKES.keys())
def test_handshakes_are_taken_or_refused(
    served: Served, changes: dict[str, Any], status: int
) -> None:
    with served.connect() as connection:
        assert Raw(connection).handshake(**changes)[0] == status
    served.wait_for_counter(f'responses{{status="{status // 100}xx"}}', 1)
    assert served.get("/") == (200, b"hello")


def test_subprotocol_is_the_one_that_the_application_chose(served: Served) -> None:
    with served.connect() as connection:
        status, headers = Raw(connection).handshake(Sec_WebSocket_Protocol="chat, other")
        assert (status, headers["sec-websocket-protocol"]) == (101, "chat")


def test_compression_is_offered_and_used_both_ways(served: Served) -> None:
    import zlib

    with served.connect() as connection:
        client = Raw(connection)
        _, headers = client.handshake(Sec_WebSocket_Extensions="permessage-deflate")
        assert headers["sec-websocket-extensions"].startswith("permessage-deflate")
        packer = zlib.compressobj(wbits=-12)
        packed = packer.compress(b"x" * 1000) + packer.flush(zlib.Z_SYNC_FLUSH)
        client.send(frame(TEXT, packed[:-4], reserved=4))
        received = client.receive()
        assert received is not None
        assert (
            zlib.decompressobj(wbits=-15).decompress(received[1] + b"\0\0\xff\xff") == b"x" * 1000
        )


@pytest.mark.parametrize(
    ("path", "status"), [("/refused", 403), ("/denied", 401), ("/broken", 500)]
)
def test_application_may_refuse_a_handshake(served: Served, path: str, status: int) -> None:
    with log_of(served.service) as log:
        with served.connect() as connection:
            assert Raw(connection).handshake(path)[0] == status
        served.wait_for_counter(f'responses{{status="{status // 100}xx"}}', 1)
        served.wait_for_counter("in_flight", 0)
    errors = [line for line in log.items if line.startswith("ERROR")]
    assert bool(errors) == (status == 500), errors
    assert not errors or "AsgiTask:Exception in ASGI application" in errors[0]


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ({"Content_Length": "3"}, 400), ({"Transfer_Encoding": "chunked"}, 400),
        ({"Cookie": "c" * 9000}, 431), ({f"X_{number}": "x" for number in range(130)}, 431),
    ],
    ids=["body", "chunks", "long header", "many headers"],
)  # fmt: skip
def test_handshake_that_cannot_be_read_is_refused(
    served: Served, lines: dict[str, str], status: int
) -> None:
    with served.connect() as connection:
        assert Raw(connection).handshake("/", **lines)[0] == status
    served.wait_for_counter('responses{status="4xx"}', 1)
    served.wait_for_counter("in_flight", 0)


@pytest.mark.parametrize(
    ("said", "code"), [("broken", 1011), ("bad close", 1011), ("return", 1000)]
)
def test_accepted_websocket_ends_with_a_code(served: Served, said: str, code: int) -> None:
    with opened(served) as client:
        client.send(frame(TEXT, said.encode()))
        assert client.outcome() == [code]
    served.wait_for_counter("in_flight", 0)


def test_log_shows_nothing_that_clients_send(served: Served) -> None:
    with log_of(served.service) as log, opened(served, "/?secret=1") as client:
        client.send(frame(TEXT, b"secret"))
        client.receive()
        client.send(BYE)
        client.outcome()
    assert not any("secret" in line for line in log.items)


def test_application_is_told_that_the_client_has_gone(served: Served) -> None:
    with opened(served) as client:
        client.send(frame(TEXT, b"hi"))
        client.receive()
    client.stream.close()
    served.wait_for(served.board.disconnected)


@pytest.mark.parametrize(("again", "code"), [(False, 1001), (True, 1012)], ids=["stop", "restart"])
def test_stop_closes_with_1001_and_restart_with_1012(
    served: Served, again: bool, code: int
) -> None:
    task = served.task
    with opened(served) as client:
        served.service.restart() if again else served.service.shutdown()
        wait_for_event(task.stop_event, "the stop")
        opcode, payload = client.receive()
        assert (opcode, struct.unpack("!H", payload[:2])[0]) == (CLOSE, code)
        client.send(close(code))
        assert client.receive() is None
    assert task.board.told[1] == f"websocket.disconnect {code}"


def test_client_without_a_close_delays_no_restart(served: Served) -> None:
    with opened(served) as client:
        served.service = restart(served.service)
        assert client.outcome() == [1012]
    with opened(served) as client:
        client.send(frame(TEXT, b"hi"))
        assert client.receive() == SAID
