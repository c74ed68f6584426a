"""The streams of a server's connections: they report when a client takes nothing more, and let one
that is refused read why.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import sys
import time
from typing import TYPE_CHECKING, Any

from sparts.net.metering import FULL, SMALL, Requests

from tornado.httputil import format_timestamp
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError, UnsatisfiableReadError
from tornado.netutil import ssl_wrap_socket

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Protocol

    from tornado.http1connection import HTTP1ConnectionParameters
    from tornado.httputil import HTTPServerRequest
    from tornado.websocket import WebSocketHandler

    class StreamServer(Protocol):
        """What a stream needs of its server: a `sparts.tasks.tornado.server.GracefulHTTPServer`."""

        ssl_options: Any
        ending: bool
        max_buffer_size: int | None
        read_chunk_size: int | None
        conn_params: HTTP1ConnectionParameters
        requests: Requests

        @property
        def loop(self) -> asyncio.AbstractEventLoop: ...  # noqa: D102
        def stalled(self, stream: Stream, /) -> None: ...  # noqa: D102
        def gone(self, stream: Stream, /) -> None: ...  # noqa: D102
        def linger(self, sock: socket.socket, answer: bytes, /) -> None: ...  # noqa: D102


TOO_BIG, FAILED = 1009, 1011
"""Websocket's status codes for a message that is too big, and for a handler that has failed (RFC
6455, section 7.4.1)."""

LAST = 5.0
"""Seconds that a client has at the stop to read its last answer."""


def client_of(request: HTTPServerRequest) -> str:
    """Return the address of the client; ``""`` for a Unix socket, which Tornado calls 0.0.0.0."""
    address = request.remote_ip or ""
    return "" if address == "0.0.0.0" else address  # noqa: S104 - nothing is bound


def refusal(status: str, text: str, request_id: str = "") -> bytes:
    """Return the answer to a request that is not taken, the last of its connection.

    Args:
        status: its code and reason.
        text: a sentence for the person who reads it.
        request_id: the id of the request, if it has one.
    """
    lines = [
        f"HTTP/1.1 {status}",
        f"Date: {format_timestamp(time.time())}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(text) + 1}",
        "Connection: close",
        *([f"X-Request-Id: {request_id}"] if request_id else []),
    ]
    return ("\r\n".join(lines) + f"\r\n\r\n{text}\n").encode("ascii")


class WholeAnswers:
    """For classes of handlers: what they answer is whole, or the client sees that it is not."""

    request: Any
    _headers_written: bool

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer that the handler has failed; called by Tornado and by handlers.

        An answer that has begun ends with its connection: Tornado's own would end as a whole one.
        """
        parent: Any = super()
        connection = self.request.connection
        if self._headers_written and connection.stream is not None:
            if connection._pending_write is not None:
                self._cut_off(status_code)
                return
            self._headers_written = False  # Tornado has refused to send them
        parent.send_error(status_code, **kwargs)

    def _cut_off(self, status_code: int) -> None:
        handler: Any = self
        if handler._finished:
            return
        if self.request.connection.stream.closed():  # the client has gone
            handler.application.lost(self.request)
        else:
            handler.set_status(status_code)  # for counters and the log
            self.request.connection.stream.close()
        handler.finish()

    def log_exception(self, *error: Any) -> None:
        """Log what the handler raised, unless it is that the client has gone; called by Tornado.

        A websocket is aborted then.
        """
        handler: Any = self
        stream = self.request.connection.stream
        if isinstance(error[1], StreamClosedError) and stream is not None and stream.closed():
            return
        parent: Any = super()
        parent.log_exception(*error)
        if handler.get_status() == 101 and hasattr(handler, "ws_connection"):
            handler.close(FAILED)


class Stream(IOStream):
    """A connection of the server, and what it is doing.

    It waits *fresh* until the headers of its first request have come, and *idle* between two
    requests. Otherwise it is *busy*; while it sends a body, it is *reading* too.
    """

    server: StreamServer
    waits: dict[Stream, None] | None = None
    """Among which connections it waits; None: it is busy."""
    since: float = 0.0
    """Since when it waits or sends a body, by the loop's clock."""
    received: int = 0
    """Bytes of the body that have come."""
    asked: bool = False
    """Whether it has had a request."""
    answered: bool = False
    """Whether the answer to its present request has begun."""
    last: bool = False
    """Whether the answer to its present request says that it is the last."""
    unread: bool = False
    """Whether the client sends a body: then a close waits for it to read its answer."""
    cut: bool = False
    """Whether it is closed without regard to what the client has not read."""
    stalled_since: float = 0.0
    """Since when it takes nothing more, by the loop's clock; see `GracefulHTTPServer.stalled`."""
    taken_before: int = 0
    """How many bytes it had taken by then."""
    refuse_request: Callable[[str, str], None] | None = None
    """Refuses the request whose body has come or comes: called with a status and a sentence."""
    websocket: WebSocketHandler | None = None
    """The websocket that it has become, unless that was refused."""

    _answer: bytes = b""
    _sent: int = 0

    def write_to_fd(self, data: memoryview) -> int:
        """Send, as Tornado's does; note that no more can be sent for now."""
        try:
            sent = self.socket.send(data)
            self._sent += sent
            return sent
        except BlockingIOError:
            self.server.stalled(self)
            raise
        finally:
            del data

    # -- memory; see `sparts.net.metering` ---------------------------------------------------------

    def become(self, websocket: WebSocketHandler) -> None:
        """Note that it is a websocket's from now on, and count what comes: see `read_messages`."""
        self.websocket, self.since = websocket, 0.0
        vars(self)["read_from_fd"] = self.read_messages  # requests pay nothing for it

    def read_messages(self, buf: bytearray | memoryview) -> int | None:
        """Receive, as Tornado's does; count the messages of a websocket that have not come wholly.

        A message that is whole counts until its handler returns: then more is read.
        """
        try:
            number = type(self).read_from_fd(self, buf)
        finally:
            del buf  # an error keeps this frame, and the buffer would stay with it
        if self.websocket is not None:
            connection: Any = self.websocket.ws_connection
            part = getattr(connection, "_fragmented_message_buffer", None) or b""
            size = self._read_buffer_size + (number or 0) + len(part)
            if size > SMALL:
                self.since = self.since or self.server.loop.time()
                self.server.requests.hold(self, size)
            elif self.since:
                self.since = 0.0
                self.server.requests.release(self)
        return number

    def sending_for(self) -> float | None:
        """Return for how many seconds the client has been sending a body, or a message."""
        sending = self.unread if self.websocket is None else self.reading()
        return self.server.loop.time() - self.since if sending else None

    def refuse_for_memory(self) -> None:
        """Answer that there is no memory for the request, or close the websocket."""
        websocket, self.websocket = self.websocket, None
        if websocket is not None:  # it may be reading just now
            self.server.loop.call_soon(self._close_websocket, websocket)
        elif self.refuse_request is not None:
            self.refuse_request("503 Service Unavailable", FULL)

    def release(self) -> None:
        """Let go of the request or websocket that has ended, and of its memory."""
        self.refuse_request = None  # else both refer to each other, until a collection
        vars(self).pop("read_from_fd", None)
        self.server.requests.release(self)

    def _close_websocket(self, websocket: WebSocketHandler) -> None:
        websocket.close(TOO_BIG, FULL)
        self.unread = True
        self.close()

    # -- the end -----------------------------------------------------------------------------------

    def taken(self) -> int:
        """How many bytes the client's system has taken; with TLS, a little less than that.

        Where a socket does not know (macOS): how many our own system has taken.
        """
        import termios  # few connections need it

        held = b""
        with contextlib.suppress(OSError):
            held = fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, bytes(4))
        return self._sent - int.from_bytes(held, sys.byteorder)

    def _is_read(self) -> bool:
        """Whether the client has taken everything, and we what it has sent.

        Closed before, the connection is reset, and the client may lose the end of its answer.
        """
        import termios

        held = bytes(4)
        with contextlib.suppress(OSError):
            queues = (termios.TIOCOUTQ, termios.FIONREAD)
            return all(fcntl.ioctl(self.fileno(), each, held) == held for each in queues)
        return True

    def has_input(self) -> bool:
        """Whether something has come that was not read yet."""
        if self.closed():
            return False
        poller = select.poll()
        poller.register(self.fileno(), select.POLLIN)
        return bool(poller.poll(0))

    def refuse(self, answer: bytes) -> None:
        """Answer in place of the handler, and close; if an answer has begun, close."""
        self._answer = answer
        self.unread = True
        self.close()

    def abort(self) -> None:
        """Close at once."""
        self.unread, self.cut = False, True
        self.close()

    def reset(self) -> None:
        """Close at once, and have the system too forget what it holds for the client."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def close_fd(self) -> None:
        """Close the socket, at once or when the client has had time to read; called by `close`."""
        self.server.gone(self)
        answer = self._answer
        if isinstance(self.error, UnsatisfiableReadError) and self.waits is not None:
            text = f"The headers are longer than {self.server.conn_params.max_header_size} bytes."
            answer = refusal("431 Request Header Fields Too Large", text)
        ends = self.server.ending and not self.cut
        if answer or self.unread or (ends and not self._is_read()):
            self.server.linger(self.socket, b"" if self.writing() else answer)
            vars(self)["socket"] = None  # as `close_fd` of the base does
        else:
            super().close_fd()


class TLSStream(Stream, SSLIOStream):
    """A connection of the server, with TLS."""

    def write_to_fd(self, data: memoryview) -> int:
        """Send, as Tornado's does; note that no more can be sent for now."""
        sent = SSLIOStream.write_to_fd(self, data)
        self._sent += sent
        if not sent:
            self.server.stalled(self)
        return sent


def make_stream(connection: socket.socket, server: StreamServer) -> Stream:
    """Return the stream of a connection that was accepted.

    Raises:
        OSError: the client has gone already.
    """
    kind: type[Stream] = Stream
    if server.ssl_options is not None:
        connection = ssl_wrap_socket(
            connection, server.ssl_options, server_side=True, do_handshake_on_connect=False
        )
        kind = TLSStream
    stream = kind(
        connection,
        max_buffer_size=server.max_buffer_size,
        read_chunk_size=server.read_chunk_size,
    )
    stream.server = server
    return stream


class Lingering:
    """A connection that has its last answer and may still send: what comes is thrown away.

    Closed with something unread it would be reset, and the client might lose the answer.

    Args:
        sock: non-blocking; closed in the end.
        answer: sent first.
        loop: the running one.
        ended: called when it has been closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        answer: bytes,
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[Lingering], None],
    ) -> None:
        self.since: float = loop.time()
        self._sock, self._loop, self._ended = sock, loop, ended
        with contextlib.suppress(OSError):  # the client has gone: the first read says so
            if answer:
                sock.send(answer)
            if isinstance(sock, ssl.SSLSocket):
                with contextlib.suppress(OSError):  # it does not wait for the client's part
                    sock.unwrap()
            sock.shutdown(socket.SHUT_WR)
        loop.add_reader(sock, self._discard)

    def _discard(self) -> None:
        try:
            if self._sock.recv(65536):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """Wait no longer."""
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._ended(self)
