"""The memory that messages of websockets take, until the application has taken them."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.tasks.asgi import AsgiTask
from sparts.testing import service_of
from sparts.testing.running import running

from tests.asgi.applications import Switchboard, answer
from tests.asgi.conftest import HERE, Served
from tests.asgi.test_websockets import BINARY, TEXT, frame, opened
from tests.processes import resident

DEFLATE = {"Sec_WebSocket_Extensions": "permessage-deflate"}
MIB = 1 << 20


class Reader(AsgiTask):
    """An application that takes a message of its websocket when it is let."""

    MAX_MESSAGE = 4 * MIB

    def app(self) -> Any:
        """Return it."""
        self.board = board = Switchboard()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await answer(send, 200, b"hello")
            elif scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.accept"})
                if scope["path"] == "/later":
                    await board.go_on.wait()
                number = size = 0
                while (message := await receive())["type"] == "websocket.receive":
                    number += 1
                    size += len(message.get("bytes") or message.get("text") or "")
                    if message.get("text") == "how many":
                        await send({"type": "websocket.send", "text": f"{number} {size}"})
                board.told.append(message["code"])

        return application


@contextlib.contextmanager
def served(*argv: str) -> Iterator[Served]:
    """Serve it."""
    with running(service_of(Reader), *HERE, *argv) as service:
        yield Served(service, "Reader")


def test_messages_that_wait_count_too() -> None:
    with served("--asgi-max-memory", "10MiB") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(opened(server, "/later")) for _ in range(5)]
        for client in clients:
            client.send(frame(BINARY, bytes(3 * MIB)))
        server.wait_until(lambda: server.counter("bodies_refused") >= 2)
        assert server.counter("bodies_refused") == 2
        server.go_on()
        server.wait_until(lambda: server.task._shared.requests.taken == 0)
        assert server.task._shared.requests.taken == 0


def packed(payload: bytes) -> bytes:
    """Return a message as permessage-deflate has it."""
    compressor = zlib.compressobj(wbits=-12)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(BINARY, data.removesuffix(b"\0\0\xff\xff"), reserved=4)


def test_compressed_messages_wait_without_their_memory() -> None:
    """All of them come at once, and are decompressed when the application takes them."""
    with served() as server, opened(server, "/later", **DEFLATE) as client:
        before = resident()
        client.send(packed(bytes(3 * MIB)) * 60 + frame(TEXT, b"how many"))
        server.wait_until(lambda: server.task._shared.requests.taken > 0)
        assert resident() - before < 60_000
        server.go_on()
        received = client.receive()
        assert received is not None
        text = zlib.decompressobj(wbits=-12).decompress(received[1] + b"\0\0\xff\xff")
        assert text == b"61 %d" % (60 * 3 * MIB + 8)


@pytest.mark.parametrize("size", [0, 1])
def test_small_fragments_take_no_memory_beside_their_own(size: int) -> None:
    with served() as server, opened(server) as client:
        client.send(frame(TEXT, b"how", fin=False))
        part = frame(0, b" " * size, fin=False)
        before = resident()
        for _ in range(30):
            client.send(part * 10_000)
        client.send(frame(0, b" many"))
        client.send(frame(TEXT, b"how many"))
        assert client.receive() == (TEXT, b"2 %d" % (8 + 300_000 * size + 8)) if size else True
        assert resident() - before < 12_000


def test_order_stays_when_the_application_reads_late() -> None:
    with served() as server, opened(server, "/later") as client:
        sizes = [1, 40_000, 0, 3, 20_000, 125, 126] * 40
        client.send(b"".join(frame(BINARY, bytes(size)) for size in sizes))
        client.send(frame(TEXT, b"how many"))
        server.go_on()
        assert client.receive() == (TEXT, b"%d %d" % (len(sizes) + 1, sum(sizes) + 8))
