"""Websockets: uvicorn's protocol on the websockets library, counted and drained."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sparts.logs import log_fields
from sparts.net.metering import LOST, RequestFields
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    from sparts.tasks.asgi.shared import Shared

GOING_AWAY, SERVICE_RESTART = 1001, 1012
"""Status codes of the close frame at a stop and at a restart (RFC 6455, IANA's registry)."""
CLOSING = 1.0
"""Seconds that a client has to answer our close frame at the stop."""


class WebSocket(WebSocketsSansIOProtocol):
    """One websocket."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.config, shared.state, shared.app_state, shared.loop)
        self.shared: Shared = shared
        self.scope: Any
        self.logger: Any = shared.logger
        self.conn.logger = self.logger
        self.conn.debug = False
        self._began = 0.0  # of a handshake that was not counted yet; 0: there is none
        self._fields = RequestFields(())
        self._closed_by_us = False

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
        """Answer that the application failed; called by uvicorn."""
        if self._began:
            self._count(500)
        super().send_500_response()

    def connection_lost(self, error: Exception | None) -> None:
        """Count a handshake whose client has gone before the answer."""
        if self._began:
            self._count(0)
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
        if not self.handshake_complete or self.close_sent or self.transport.is_closing():
            return
        code = SERVICE_RESTART if self.shared.service.health.restarting else GOING_AWAY
        self.stop_keepalive()
        self._closed_by_us = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code})
        self.conn.send_close(code)
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer: asyncio.TimerHandle = asyncio.get_running_loop().call_later(
            CLOSING, self.transport.close
        )
