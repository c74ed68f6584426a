"""A peer that does what a test says, one function a connection."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from thrift.protocol.TBinaryProtocol import TBinaryProtocolAccelerated
from thrift.transport.TTransport import TMemoryBuffer

from tests.thrift.interop.handler import Handler

Script = Callable[[socket.socket], None]


class Peer:
    """Listens on a port of 127.0.0.1; what a connection gets is up to its script.

    Args:
        types: the module of the interface that `serve` serves.
        scripts: what the first connections get, in order; all further ones are served.
        tls: speaks TLS with this.
    """

    def __init__(self, types: Any, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._processor = types.Interop.Processor(Handler(types, types.included))
        self._scripts = list(scripts)
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.frames: list[bytes] = []
        """What was read of all connections."""
        self.connected, self.asked = threading.Event(), threading.Event()
        """Set when somebody has connected, and when a call was read."""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                script = self._scripts.pop(0) if self._scripts else self.serve
                self.connections.append(connection)
                self.connected.set()
                thread = threading.Thread(target=self._run, args=(script, connection))
                self._threads.append(thread)
                thread.start()

    def _run(self, script: Script, connection: socket.socket) -> None:
        with suppress(OSError, EOFError):
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self.connections.append(connection)
            script(connection)
        connection.close()

    def serve(self, connection: socket.socket) -> None:
        """Answer every call."""
        while True:
            self.serve_one(connection)

    def serve_one(self, connection: socket.socket) -> None:
        """Answer one call."""
        connection.sendall(self.answer(self.read(connection)))

    def read(self, connection: socket.socket) -> bytes:
        """Read one call."""
        (size,) = struct.unpack("!I", read_exactly(connection, 4))
        self.frames.append(read_exactly(connection, size))
        self.asked.set()
        return self.frames[-1]

    def answer(self, call: bytes) -> bytes:
        """Give the frame that answers a call."""
        out: Any = TMemoryBuffer()
        self._processor.process(
            TBinaryProtocolAccelerated(TMemoryBuffer(call)), TBinaryProtocolAccelerated(out)
        )
        answer: bytes = out.getvalue()
        return struct.pack("!I", len(answer)) + answer

    def __enter__(self) -> Self:
        """Give the peer, already listening."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all that it does."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self.connections:
            connection.close()


def read_exactly(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes; EOFError when the other end closes before."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def hold(connection: socket.socket) -> None:
    """Read, and never answer, until the other end closes."""
    while connection.recv(1 << 16):
        pass
