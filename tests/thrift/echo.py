"""Handlers of idl/sparts_interop.thrift, and helpers to ask them."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.thrift.calls import caller
from sparts.vservice import VService
from thrift.protocol.TBinaryProtocol import TBinaryProtocol, TBinaryProtocolAccelerated
from thrift.protocol.TCompactProtocol import TCompactProtocol, TCompactProtocolAccelerated
from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.TSocket import TSocket
from thrift.transport.TTransport import TFramedTransport, TMemoryBuffer

from tests.certificates import over_tls
from tests.thrift.generated import generated

interop = generated("sparts_interop")
Echo, Other, ttypes = interop.Echo, interop.Other, interop.ttypes


class BrokenError(Exception):
    """Cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError


class EchoHandler(ThriftHandlerTask):
    """Gives back what it gets."""

    MODULE = Echo

    def initTask(self) -> None:  # noqa: N802
        """Prepare what the tests wait for."""
        super().initTask()
        self.told: list[str] = []
        self.was_told = threading.Event()
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()

    def ping(self) -> None:
        """Do nothing."""

    def who(self) -> str:
        """Give the address of the caller."""
        return str(caller())

    def text(self, text: str) -> str:
        """Give it back."""
        return text

    def raw(self, raw: bytes) -> bytes:
        """Give it back."""
        return raw

    def everything(self, everything: Any) -> Any:
        """Give it back."""
        return everything

    def tree(self, tree: Any) -> Any:
        """Give it back."""
        return tree

    def add(self, a: int, b: int) -> int:
        """Add."""
        return a + b

    def shape(self, shape: Any) -> Any:
        """Give it back."""
        return shape

    def fail(self, how: str) -> None:
        """Raise what is asked for."""
        if how == "refused":
            raise self.types.Refused(why="because", code=403)
        if how == "gone":
            raise self.types.Gone(what="it")
        if how == "application":
            raise TApplicationException(TApplicationException.INVALID_TRANSFORM, "by ourselves")
        if how == "broken":
            raise BrokenError
        raise ValueError(f"secret {how}")

    def tell(self, text: str) -> None:
        """Note it."""
        self.told.append(text)
        self.was_told.set()

    def slowly(self, text: str) -> str:
        """Give it back when `go_on` is set."""
        self.entered.release()
        if not self.go_on.wait(30):
            raise TimeoutError
        return text

    types = ttypes


class InlineHandler(EchoHandler):
    """The same, called by the threads that talk to the clients."""

    INLINE = True


class AsyncHandler(EchoHandler):
    """The same, half of it in coroutines."""

    async def text(self, text: str) -> str:  # type: ignore[override]
        """Give it back."""
        return text

    async def who(self) -> str:  # type: ignore[override]
        """Give the address of the caller."""
        return str(caller())

    async def fail(self, how: str) -> None:  # type: ignore[override]
        """Raise what is asked for."""
        EchoHandler.fail(self, how)

    async def tree(self, tree: Any) -> Any:
        """Give it back."""
        return tree


class OtherHandler(ThriftHandlerTask):
    """Another service."""

    MODULE = Other

    def answer(self) -> int:
        """Give the answer."""
        return 42

    def text(self, text: str) -> str:
        """Give it back, changed."""
        return text.upper()


class EchoServer(NBServerTask):
    """Serves an `EchoHandler`, which comes along."""

    DEPS = (EchoHandler,)


class InlineServer(NBServerTask):
    """Serves an `InlineHandler`, which comes along."""

    DEPS = (InlineHandler,)


class AsyncServer(NBServerTask):
    """Serves an `AsyncHandler`, which comes along."""

    DEPS = (AsyncHandler,)


HERE = ("--thrift-host", "127.0.0.1", "--thrift-port", "0")


def request(call: Any, protocol: Any = TBinaryProtocolAccelerated, service: Any = Echo) -> bytes:
    """Give the frame of a call: ``request(lambda client: client.send_ping())``."""
    buffer = TMemoryBuffer()
    call(service.Client(protocol(buffer)))
    content: bytes = buffer.getvalue()
    return struct.pack(">I", len(content)) + content


def read_frame(connection: socket.socket) -> bytes:
    """Read one frame, and give it without its length."""
    (length,) = struct.unpack(">I", read_exactly(connection, 4))
    return read_exactly(connection, length)


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    got = bytearray()
    while len(got) < count:
        chunk = connection.recv(count - len(got))
        assert chunk, f"closed after {len(got)} of {count} bytes"
        got += chunk
    return bytes(got)


def ask_text(connection: socket.socket, text: str) -> None:
    """Ask for an echo, and check it."""
    connection.sendall(request(lambda client: client.send_text(text)))
    client = Echo.Client(TBinaryProtocolAccelerated(TMemoryBuffer(read_frame(connection))))
    assert client.recv_text() == text


PROTOCOLS: dict[str, Any] = {
    "binary": TBinaryProtocolAccelerated,
    "compact": TCompactProtocolAccelerated,
    "plain binary": TBinaryProtocol,
    "plain compact": TCompactProtocol,
    "old binary": lambda transport: TBinaryProtocol(transport, strictWrite=False),
}


@contextmanager
def apache_client(
    service: VService, protocol: str = "binary", made: Any = Echo, multiplex: str = ""
) -> Iterator[Any]:
    """Give a client of Apache's of the service's server."""
    address = service.requireTask(NBServerTask).bound_addrs[0]
    sock = TSocket(unix_socket=address) if isinstance(address, str) else TSocket(*address)
    sock.setTimeout(30_000)
    transport = TFramedTransport(sock)
    transport.open()
    try:
        spoken = PROTOCOLS[protocol](transport)
        if multiplex:
            spoken = TMultiplexedProtocol(spoken, multiplex)
        yield made.Client(spoken)
    finally:
        transport.close()


def connect(service: VService) -> socket.socket:
    """Connect to the service's server, by TLS where it speaks that."""
    server = service.requireTask(NBServerTask)
    address = server.bound_addrs[0]
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(30)
    sock.connect(address)
    return sock if server.ssl_context is None else over_tls(sock)
