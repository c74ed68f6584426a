"""How a connection refuses a request: after the responses before it, and so that it is read."""

from __future__ import annotations

import asyncio
import fcntl
import termios
from collections.abc import Callable
from contextlib import suppress
from time import perf_counter
from typing import Any

from sparts.net.metering import RequestFields
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LINGERING = 4
"""What a connection does whose client reads why it was refused."""
LINGER = 5.0
"""Seconds that a client has to read why it was refused, while it may still send."""

_PHRASES = {
    400: "Bad Request",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Refusing(HttpToolsProtocol):
    """The part of a connection that refuses requests."""

    shared: Any
    current: Any
    flow: Any
    phase: int
    since: float
    _begin: Callable[[], None]
    _end: Callable[[int, float], float]
    _ended: Any
    _refusal: tuple[int, str, bool] | None
    _lingering: asyncio.TimerHandle | None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; called by uvicorn."""
        if self._refusal is None and not self.transport.is_closing():
            self.refuse(400, msg)

    def refuse(self, status: int, text: str, known: bool = False) -> None:
        """Answer that a request is refused, after those before it, and take no more of them.

        Args:
            status: of the answer.
            text: its body.
            known: whether the head has been read, so that the log can show what was asked for.
        """
        self._refusal = (status, text, known)
        cycle = self.current
        if cycle is None:
            self._send_refusal()
        elif cycle is self.cycle and cycle.more_body:  # it is this one that is refused
            if cycle.response_started:
                cycle.transport.close()
                return
            self.current = None
            cycle.disconnected = True
            cycle.message_event.set()
            self._ended(cycle, status // 100, status)
            self._write(status, text)
        elif self.pipeline and self.pipeline[0][0] is self.cycle and self.cycle.more_body:
            self.pipeline.popleft()

    def _send_refusal(self) -> None:
        assert self._refusal is not None  # noqa: S101 - see where it is called
        status, text, known = self._refusal
        self._begin()
        now = perf_counter()
        self._end(status // 100, now)
        if self.shared.meter.logs(status // 100):
            asked = (self.parser.get_method(), self.url.partition(b"?")[0]) if known else (b"", b"")
            method, path = (each.decode("latin-1") for each in asked)
            scope = {"path": path, "method": method, "client": self.client}
            self.shared.log(status // 100, status, scope, 0.0, RequestFields(()))
        self._write(status, text)

    def fail(self) -> None:
        """Answer that the application has failed: the head of its response could not be sent."""
        cycle, self.current = self.current, None
        cycle.disconnected = True
        self._ended(cycle, 5, 500)
        self._write(500, _PHRASES[500], whole=cycle.scope["method"] != "HEAD")

    def _write(self, status: int, text: str, *, whole: bool = True) -> None:
        """Send a refusal, and close the connection when the client has read it, or soon."""
        body = text.encode() + b"\n"
        self.transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n" % (status, _PHRASES[status].encode(), len(body))
        )
        if whole:
            self.transport.write(body)
        self._linger()

    def _linger(self) -> None:
        self.phase, self.since = LINGERING, perf_counter()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._lingering = self.loop.call_later(LINGER, self.transport.close)

    def finish(self) -> None:
        """Close the connection after its last response: at once, or when the client has read it.

        A connection that is closed with something unread is reset, and the client may lose the end
        of the response. So it may if it sends more to a connection that is closed.
        """
        waits = self.shared.ending and self.transport.get_write_buffer_size() > 0
        with suppress(OSError, AttributeError, ValueError):  # it has gone
            descriptor = self.transport.get_extra_info("socket").fileno()
            waits |= self.shared.ending and _held(descriptor, termios.TIOCOUTQ)
            waits |= _held(descriptor, termios.FIONREAD)
        if waits and self.transport.can_write_eof() and not self.transport.is_closing():
            self._linger()
        else:
            self.transport.close()


def _held(descriptor: int, queue: int) -> bool:
    """Return whether the system holds bytes that came, or that the client has not taken."""
    return fcntl.ioctl(descriptor, queue, bytes(4)) != bytes(4)
