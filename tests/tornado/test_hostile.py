"""Whatever comes over the network, the service answers the next good request; memory comes back."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificates import trusting
from tests.processes import ServiceProcess
from tests.tornado.http_services import WAIT, ask

ROOT = Path(__file__).parents[2]
SCRIPT = "from tests.tornado.http_services import Service; Service.initFromCLI()"
HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


class Server:
    """A service as a process, and how to reach it."""

    def __init__(self, process: ServiceProcess, log: Path, context: ssl.SSLContext | None) -> None:
        self.process = process
        self.log = log
        self.port = int(re.findall(r"Started on \S+:(\d+)", log.read_text())[0])
        self.context = context

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """A new connection, without TLS."""
        with socket.create_connection(("127.0.0.1", self.port), WAIT) as client:
            yield client

    def send(self, *parts: bytes, more: bool = False) -> bytes:
        """Send, and no more unless there is ``more``; read to the end, and give what came."""
        answer = b""
        with self.connected() as client, contextlib.suppress(OSError):
            for part in parts:
                client.sendall(part)
            if not more:
                client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65536):
                answer += chunk
        return answer

    def check(self) -> None:
        """Ask something sensible, which has to be answered."""
        with self.connected() as client:
            talk: socket.socket = client
            if self.context is not None:
                talk = self.context.wrap_socket(client, server_hostname="localhost")
            with talk:
                assert ask(talk, "/echo/well")[0] == 200

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.process.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


@contextlib.contextmanager
def serving(folder: Path, *argv: str, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    log = folder / "log"
    command = [sys.executable, "-c", SCRIPT, "--http-port", "0", "--logfile", str(log), *argv]
    command += ["--http-max-body", "2MiB"]
    log.touch()
    with ServiceProcess([*command, "--level", "DEBUG"], cwd=ROOT) as process:
        while "All tasks started" not in log.read_text():
            assert process.process.poll() is None
        yield Server(process, log, context)
        assert process.stop() == 0
    assert "CRITICAL" not in log.read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("hostile")) as found:
        yield found


GARBAGE = [
    b"\0" * 1000,
    b"\r\n" * 30_000,
    bytes(range(256)) * 100,
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"get / http/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA\0B: c\r\n\r\n",
    b"GET \xff\xfe HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9e9\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"GET /" + b"x" * 1_000_000,
    HEAD + b"".join(b"X-%d: x\r\n" % number for number in range(100_000)) + b"\r\n",
    HEAD + b"Cookie: " + b"a=b; " * 200_000 + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n",
    b"POST /echo/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 9000,
    b"GET /talk HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\xff\xff",
]


@pytest.mark.parametrize("number", range(len(GARBAGE)))
def test_garbage_is_refused(number: int, server: Server) -> None:
    answer = server.send(GARBAGE[number])
    assert answer == b"" or not re.match(rb"HTTP/1.1 [25]", answer), answer[:200]
    server.check()


def test_half_requests_that_are_dropped(server: Server) -> None:
    whole = b"POST /echo/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\n"
    whole += b"0123456789"
    for length in range(len(whole)):
        server.send(whole[:length])
    assert server.send(whole, more=True).endswith(b"10")
    server.check()


@pytest.mark.parametrize(
    "given",
    [
        b"a\r\nX-Evil: 1", b"a\rX-Evil: 1", b"a\nX-Evil: 1", b"a\r\n\r\n<script>", b"a\0b",
        b"a\r\n X-Evil: 1", b"a\x0bX-Evil: 1", b"a\xe5\x98\x8aX-Evil: 1",
        b"a\x85ERROR:x", b"a\xc2\x85ERROR:x", b"a\x9b31m", b"a\xe2\x80\xa8ERROR:x", b"a\x1b[2J",
    ],
)  # fmt: skip
def test_nothing_is_injected_into_headers_or_log(given: bytes, server: Server) -> None:
    before = server.log.stat().st_size
    for request in (
        HEAD + b"X-Request-Id: " + given + b"\r\n\r\n",
        b"GET /status/404?" + given + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /echo/" + given + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /none/" + given + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        head = server.send(request).partition(b"\r\n\r\n")[0]
        assert b"\nX-Evil" not in head
        assert b"\rX-Evil" not in head
    server.check()
    with server.log.open("rb") as log:
        log.seek(before)
        written = log.read().decode()
    lines = written.split("\n")[:-1]
    begin = re.compile(r"\d{4}-\S+ (?:INFO|WARNING|ERROR|DEBUG):\w")
    assert [line for line in lines if not begin.match(line)] == []
    assert [line for line in lines if not line.isprintable()] == []


def test_request_hidden_in_body_is_not_answered(server: Server) -> None:
    hidden = b"GET /echo/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
    begin = b"POST /echo/ HTTP/1.1\r\nHost: x\r\n"
    for framing in (
        b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: 4\r\nContent-Length: 0\r\n\r\n",
    ):
        assert b"hidden" not in server.send(begin + framing + hidden)
    length = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    assert server.send(begin + length + hidden, more=True).count(b"HTTP/1.1 ") == 1
    server.check()


def drop_connections(server: Server, count: int) -> None:
    """Open connections, send a part or nothing, and end them in an orderly way or none."""
    for begin in range(0, count, 500):
        clients = []
        for number in range(begin, min(begin + 500, count)):
            client = socket.create_connection(("127.0.0.1", server.port), WAIT)
            if number % 3:
                client.sendall(HEAD if number % 3 == 1 else HEAD + b"\r\n")
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            clients.append(client)
        for client in clients:
            client.close()


PIPELINED = b"".join(
    f"GET /echo/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for number in range(500)
)


def exhaust(server: Server, connections: int) -> None:
    """All that costs memory, at once and dropped."""
    body = b"POST /echo/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + bytes(1_900_000)
    with contextlib.ExitStack() as stack:
        for part in (body, HEAD + b"X: " + b"x" * 60_000, b"GET / HTTP/1.1\r\n"):
            for _ in range(15):
                stack.enter_context(server.connected()).sendall(part)
        server.check()
    drop_connections(server, connections)
    server.send(PIPELINED)
    server.check()


def comes_back(server: Server, before: int) -> bool:
    """Whether the memory does, in time: objects in cycles wait for a collection."""
    for _ in range(20):
        if server.memory - before < 16_000_000:
            return True
        server.send(PIPELINED)
    return False


def test_memory_comes_back_after_5000_dropped_connections(server: Server) -> None:
    for _ in range(3):
        exhaust(server, 1000)  # whatever the process needs once, it has then
    before = server.memory
    exhaust(server, 5000)
    assert comes_back(server, before)


TLS_GARBAGE: list[Callable[[], bytes]] = [
    lambda: b"",
    lambda: HEAD + b"\r\n",
    lambda: bytes(range(256)) * 300,
    lambda: b"\x16\x03\x01\xff\xff" + b"\0" * 70_000,
    lambda: b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
    lambda: b"\x15\x03\x03\x00\x02\x02\x28",
    lambda: b"\x80\x2e\x01\x00\x02" + b"\0" * 100,
]


def test_tls_garbage_is_refused_and_memory_comes_back(tmp_path: Path, pem: str) -> None:
    context = trusting()
    with serving(tmp_path, "--http-tls-cert", pem, context=context) as server:

        def attack() -> None:
            for garbage in TLS_GARBAGE * 20:
                assert b"HTTP/" not in server.send(garbage())
            with server.connected() as client:  # a hello, and then nothing that makes sense
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                hello = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
                with contextlib.suppress(ssl.SSLWantReadError):
                    hello.do_handshake()
                client.sendall(outgoing.read() + b"garbage" * 1000)
            drop_connections(server, 500)
            server.check()

        attack()
        before = server.memory
        for _ in range(3):
            attack()
        assert comes_back(server, before)
