"""Connections of `ThriftClient`: framed thrift, and thrift over HTTP, each with a deadline."""

from __future__ import annotations

import asyncio
import http.client
import io
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from sparts.thrift.calls import passing
from sparts.thrift.client.calls import sent_headers
from sparts.thrift.client.endpoint import (
    Deadline,
    Endpoint,
    check_size,
    connect_error,
    lost_error,
)

from thrift.transport.TTransport import TTransportException

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CHUNK = 1 << 18
"""How many bytes are read at once."""


class Stream:
    """A connected socket whose every wait ends at `deadline`.

    Raises:
        TTransportException: it cannot be connected, within the deadline or at all.
    """

    def __init__(self, endpoint: Endpoint, deadline: Deadline) -> None:
        self.endpoint = endpoint
        self.deadline = deadline
        self._socket = _connect(endpoint, deadline)
        self.address: Any = self._socket.getsockname()

    def sendall(self, data: Any) -> None:
        """Send bytes."""
        view = memoryview(data)
        try:
            while view:
                self._socket.settimeout(self.deadline.left())
                view = view[self._socket.send(view) :]
        except TimeoutError:
            raise self.deadline.error() from None
        except OSError as error:
            raise lost_error(self.endpoint, error) from error

    def recv(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end of the stream."""
        try:
            self._socket.settimeout(self.deadline.left())
            return self._socket.recv(min(size, CHUNK))
        except TimeoutError:
            raise self.deadline.error() from None
        except OSError as error:
            raise lost_error(self.endpoint, error) from error

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes.

        Raises:
            TTransportException: the stream ends before, or they do not come in time.
        """
        data = self.recv(size)
        if len(data) == size:
            return data
        parts, missing = [data], size - len(data)
        while missing:
            data = self.recv(missing)
            if not data:
                raise lost_error(self.endpoint)
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    async def exchange(self, data: bytes, max_frame: int) -> bytes:
        """Send a frame, and return the one that answers, without waiting in this thread; no TLS.

        Raises:
            TTransportException: the connection failed. It is of no use then.
        """
        loop, sock = asyncio.get_running_loop(), self._socket
        sock.settimeout(0)

        async def read(size: int) -> bytes:
            parts = []
            while size:
                part = await loop.sock_recv(sock, min(size, CHUNK))
                if not part:
                    raise lost_error(self.endpoint)
                parts.append(part)
                size -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

        try:
            await loop.sock_sendall(sock, data)
            header = await read(4)
            (size,) = struct.unpack("!i", header)
            check_size(self.endpoint, header, size, max_frame)
            return await read(size)
        except OSError as error:
            raise lost_error(self.endpoint, error) from error

    def idle(self) -> bool:
        """Return whether the stream is as it should be between two calls: open, and silent."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.settimeout(0)
                self._socket.recv(1)  # session tickets may come at any time, and are no data
                return False
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            return not poll.poll(0)
        except ssl.SSLWantReadError:
            return True
        except (OSError, ValueError):
            return False

    def interrupt(self) -> None:
        """End what another thread waits for in it."""
        with suppress(OSError):  # it was not connected any more
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class _HTTPSocket:
    """A stream as `http.client` wants a socket; it closes it while it still reads, which is left to
    the pool.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.sendall = stream.sendall

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_Raw(self._stream))

    def close(self) -> None:
        pass


class _Raw(io.RawIOBase):
    """A stream as a raw file."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _connect(endpoint: Endpoint, deadline: Deadline) -> socket.socket:
    last: OSError | None = None
    try:
        for family, address in _addresses(endpoint):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(deadline.left())
                sock.connect(address)
                if family != socket.AF_UNIX:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if endpoint.tls is None:
                    return sock
                sock.settimeout(deadline.left())
                name = endpoint.server_hostname or None
                return endpoint.tls.wrap_socket(sock, server_hostname=name)
            except TimeoutError:
                sock.close()
                raise deadline.error() from None
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
    except OSError as error:  # the name of the host
        last = error
    raise connect_error(endpoint, last or OSError("it has no address")) from last


def _addresses(endpoint: Endpoint) -> Iterable[tuple[int, Any]]:
    if endpoint.unix:
        return [(socket.AF_UNIX, endpoint.unix)]
    infos = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    return [(info[0], info[4]) for info in infos]


class Connection(Protocol):
    """What a pool keeps: a connection that carries one call at a time."""

    def exchange(self, request: bytes, oneway: bool, deadline: Deadline) -> bytes:
        """Send a call, and return the bytes of its answer; none if it is oneway.

        Raises:
            TTransportException: the connection failed, or took too long. It is of no use then.
        """

    def idle(self) -> bool:
        """Return whether it can be used for the next call."""

    def interrupt(self) -> None:
        """End the call that another thread makes."""

    def close(self) -> None:
        """Close it."""


class FramedConnection:
    """Carries calls as frames: their length in four bytes, and the call."""

    def __init__(self, endpoint: Endpoint, deadline: Deadline, max_frame: int) -> None:
        self._stream = Stream(endpoint, deadline)
        self._endpoint = endpoint
        self._max_frame = max_frame
        self.idle: Callable[[], bool] = self._stream.idle
        self.close: Callable[[], None] = self._stream.close
        self.interrupt: Callable[[], None] = self._stream.interrupt

    def exchange(self, request: bytes, oneway: bool, deadline: Deadline) -> bytes:
        """Send a call, and return the bytes of its answer; see `Connection.exchange`."""
        stream = self._stream
        stream.deadline = deadline
        if (headers := sent_headers.get()) and not oneway:
            with passing(stream.address, headers):
                return self._exchange(request)
        return self._exchange(request, oneway)

    def _exchange(self, request: bytes, oneway: bool = False) -> bytes:
        stream = self._stream
        stream.sendall(struct.pack("!I", len(request)) + request)
        if oneway:
            return b""
        header = stream.read(4)
        (size,) = struct.unpack("!i", header)
        check_size(self._endpoint, header, size, self._max_frame)
        return stream.read(size)

    async def exchange_async(self, request: bytes) -> bytes:
        """Do the same from a coroutine, without TLS; cancelled, the connection is of no use."""
        return await self._stream.exchange(
            struct.pack("!I", len(request)) + request, self._max_frame
        )


class HTTPConnection:
    """Carries calls as POST requests."""

    def __init__(
        self,
        endpoint: Endpoint,
        deadline: Deadline,
        max_frame: int,
        content_type: str,
        headers: Mapping[str, str],
    ) -> None:
        self._stream = Stream(endpoint, deadline)
        self._endpoint = endpoint
        self._max_frame = max_frame
        self._headers = {"Content-Type": content_type, "Accept": content_type, **headers}
        self._http = http.client.HTTPConnection(endpoint.host or "localhost", endpoint.port or None)
        self._http.auto_open = 0
        self._http.sock = _HTTPSocket(self._stream)
        self._usable = True
        self.close: Callable[[], None] = self._stream.close
        self.interrupt: Callable[[], None] = self._stream.interrupt

    def idle(self) -> bool:
        """Return whether it can be used for the next call."""
        return self._usable and self._stream.idle()

    def exchange(self, request: bytes, oneway: bool, deadline: Deadline) -> bytes:
        """Post a call, and return the body of the answer; see `Connection.exchange`."""
        self._stream.deadline = deadline
        try:
            headers = {**self._headers, **sent_headers.get()}
            self._http.request("POST", self._endpoint.path, request, headers)
            with self._http.getresponse() as answer:
                body = answer.read(self._max_frame + 1)
                self._usable = not answer.will_close
        except http.client.RemoteDisconnected:
            raise lost_error(self._endpoint) from None
        except http.client.HTTPException as error:
            why = f"{self._endpoint} does not speak HTTP as it should: {error!r}"
            raise TTransportException(TTransportException.UNKNOWN, why, error) from error
        if answer.status // 100 != 2:
            raise TTransportException(
                TTransportException.UNKNOWN,
                f"{self._endpoint} answers {answer.status} {answer.reason}",
            )
        if len(body) > self._max_frame:
            size = len(body) + (answer.length or 0)
            check_size(self._endpoint, b"    ", size, self._max_frame)
        return body
