"""Websockets: uvicorn's protocol on the websockets library, counted and drained."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sparts.logs import log_fields
from sparts.net.metering import FULL, LOST, SMALL, RequestFields
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from sparts.tasks.asgi.shared import Shared

NORMAL, GOING_AWAY, TOO_BIG, FAILED, SERVICE_RESTART = 1000, 1001, 1009, 1011, 1012
"""Status codes of our close frames: the application has returned, at a stop, for lack of memory,
the application has failed, at a restart (RFC 6455, IANA's registry)."""
CLOSING = 1.0
"""Seconds that a client has to answer our close frame."""
SLICE = 1 << 14
"""Bytes that are read before the application takes the messages in them. Compressed, they may be a
thousand times as many."""
PER_MESSAGE = 600
"""Bytes that a message takes while it waits for the application, beside its own."""


class WebSocket(WebSocketsSansIOProtocol):
    """One websocket."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.config, shared.state, shared.app_state, shared.loop)
        self.shared: Shared = shared
        self.app: Any = self._run
        self.scope: Any
        self.logger: Any = shared.logger
        self.conn.logger = self.logger
        self.conn.debug = False
        self._began = 0.0  # of a handshake that was not counted yet; 0: there is none
        self._fields = RequestFields(())
        self._closed_by_us = False
        self._unread = b""  # what has come after messages that wait for the application
        self._waiting = 0  # bytes of these messages
        self._given = 0  # bytes of the message that the application has taken
        self._since = 0.0  # when the message began that has not come wholly; 0: there is none
        self._refused = False

    # -- what comes in -----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take in what has come, up to the first messages that the application must take."""
        if self._refused:
            return
        if self._unread:
            data, self._unread = self._unread + data, b""
        for start in range(0, len(data), SLICE):
            if self.read_paused:
                self._unread = data[start:]
                break
            super().data_received(data[start : start + SLICE])
            if self.transport.is_closing():
                break
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self._refuse_handshake(self.conn.handshake_exc)
        self._hold()

    def handle_cont(self, event: Any) -> None:
        """Add a fragment to its message: many small ones take no more memory than one."""
        message: Any = self.frames[0]
        if not isinstance(message, bytearray):
            message = bytearray(message)
        message += event.data
        self.frames: Any = [message]
        if event.fin:
            self.frames = [bytes(message)]
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        """Have a message wait for the application."""
        self._waiting += PER_MESSAGE + sum(map(len, self.frames))
        super().send_receive_event_to_app()

    async def receive(self) -> Any:
        """Return the next message; called by the application."""
        if self._given > SMALL:
            self._given = 0
            self._hold()
        message: Any = await super().receive()
        self._given = len(message.get("bytes") or message.get("text") or "")
        if not self.read_paused:
            self._waiting = 0
            if self._unread:
                self.data_received(b"")
        return message

    # -- memory; see `sparts.net.metering` ---------------------------------------------------------

    def _hold(self) -> None:
        """Note how much memory is taken, which the clients of the server share."""
        unfinished = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        if not unfinished:
            self._since = 0.0
        elif not self._since:
            self._since = perf_counter()
        size = unfinished + len(self._unread) + self._waiting + self._given
        if size > SMALL:
            self.shared.requests.hold(self, size)
        elif self.shared.requests.taken:
            self.shared.requests.release(self)

    def sending_for(self) -> float | None:
        """Return for how many seconds a message has been coming that is not whole."""
        return perf_counter() - self._since if self._since else None

    def refuse_for_memory(self) -> None:
        """Close the websocket, since there is no memory for its message."""
        self._refused, self._unread, self.frames = True, b"", []
        self.conn.reader.buffer.clear()
        if self.handshake_complete and not self.close_sent:
            self._close(TOO_BIG, FULL)
        else:
            self.transport.close()

    # -- the handshake and the answers -------------------------------------------------------------

    def handle_connect(self, event: Any) -> None:
        """Run the application for a handshake."""
        now = perf_counter()
        if now >= self.shared.date_until:
            self.shared.renew_date(now)
        self._began = now
        self._fields = RequestFields(
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in event.headers.raw_items()
        )
        self.shared.meter.begin()
        log_fields.set(self._fields)
        super().handle_connect(event)
        if self.close_sent:  # it was no handshake
            path = event.path.partition("?")[0]
            self.scope = {"path": path, "client": self.client}
            self._count(self.response.status_code)
        else:
            self.scope["sparts.service"] = self.shared.service

    def _refuse_handshake(self, error: BaseException) -> None:
        """Answer a handshake that the websockets library cannot read; uvicorn does not."""
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            text = f"Failed to open a WebSocket connection: {error.__cause__ or error}.\n"
            answer = self.conn.reject(400, text).serialize()
        self._refused, self._began = True, perf_counter()
        self.shared.meter.begin()
        self._count(int(answer.split(b" ", 2)[1]))
        self.transport.write(answer)
        self.transport.close()

    async def _run(self, scope: Any, receive: Any, send: Any) -> Any:
        """Run the application, and close what it leaves open when it returns."""
        result = await self.config.loaded_app(scope, receive, send)
        self._end(NORMAL)
        return result

    def send(self, message: Any) -> Any:
        """Return the coroutine that sends a message; called by the application."""
        if self._began:
            return self._answer(message)
        if self._closed_by_us:
            raise ClientDisconnected
        if message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self.handshake_complete = True  # else uvicorn logs that it is not
        return super().send(message)

    async def _answer(self, message: Any) -> None:
        """Send the answer to the handshake."""
        await super().send(message)
        match message["type"]:
            case "websocket.accept":
                self._count(101)
            case "websocket.close":
                self._count(403)
            case "websocket.http.response.start":
                self._count(message["status"])
        if self.shared.ending:
            self.drain()

    def send_500_response(self) -> None:
        """Answer, or close with a code, since the application has failed; called by uvicorn."""
        if self._began:
            self._count(500)
        self._end(FAILED)
        super().send_500_response()

    def connection_lost(self, error: Exception | None) -> None:
        """Count a handshake whose client has gone before the answer."""
        if self._began:
            self._count(0)
        self._unread, self._refused = b"", True
        self.shared.requests.release(self)
        super().connection_lost(error)

    def _count(self, status: int) -> None:
        began, self._began = self._began, 0.0
        outcome = status // 100 or LOST
        now = self.shared.meter.end(outcome, began)
        if self.shared.meter.logs(outcome):
            scope = getattr(self, "scope", None) or {"path": "", "client": self.client}
            self.shared.log(outcome, status, scope, now - began, self._fields)

    def drain(self) -> None:
        """Close the websocket, once its handshake is complete; called at the stop."""
        self._end(SERVICE_RESTART if self.shared.service.health.restarting else GOING_AWAY)

    def _end(self, code: int) -> None:
        """Close the websocket with a code, if it is open."""
        if self.handshake_complete and not self.close_sent and not self.transport.is_closing():
            self._close(code)

    def _close(self, code: int, reason: str = "") -> None:
        """Send a close frame, and wait a moment for the client's."""
        self.stop_keepalive()
        self._closed_by_us = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer: asyncio.TimerHandle = asyncio.get_running_loop().call_later(
            CLOSING, self.transport.close
        )
