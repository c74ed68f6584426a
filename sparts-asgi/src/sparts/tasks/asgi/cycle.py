"""One request and its response, as uvicorn's protocol of HTTP knows them."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from sparts.net.metering import RequestFields


class Cycle(RequestResponseCycle):
    """uvicorn's cycle of a request and its response, which notes the status."""

    began: float = 0.0
    status: Any = 0
    ended = False
    fields: RequestFields

    def send(self, message: Any) -> Any:
        """Return the coroutine that sends a message; called by the application."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif self.transport.is_closing():
            # It is not known to be lost before the loop's next turn, and an application need not
            # wait for that between its messages. asyncio would log each of them.
            self.disconnected = True
        return RequestResponseCycle.send(self, message)

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a whole response.

        Args:
            status: its status.
            lines: its headers as they are sent, without the length and what the server adds.
            body: its body.
        """
        self.response_started = self.response_complete = True
        self.status = status
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        for pair in self.default_headers:
            lines = b"%s: %s\r\n%s" % (*pair, lines)
        head = b"%scontent-length: %d\r\n\r\n" % (lines, len(body))
        self.transport.write(STATUS_LINE[status] + head + body)
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        self.on_response = _nothing


def _nothing() -> None:
    """Replace what would keep the connection."""


class Flow(FlowControl):
    """uvicorn's flow control, which notes when the application let the client send again."""

    resumed: float = 0.0

    def resume_reading(self) -> None:
        """Read from the client; called for each message that the application asks for."""
        if self.read_paused:
            self.read_paused = False
            self.resumed = perf_counter()
            self._transport.resume_reading()
