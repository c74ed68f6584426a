"""One connection of a client: HTTP/2 by h2, its limits, and its end without a lost call."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hyperframe.frame
from sparts.tasks.grpc import serving
from sparts.tasks.grpc.budget import Budget
from sparts.tasks.grpc.calls import Call
from sparts.tasks.grpc.peer import Peer
from sparts.tasks.grpc.wire import MessageError

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.grpc.protocols import CallServer

FRESH = 0.25
"""Seconds; a client that connected less long ago, and has called nothing, is about to call."""
ACKNOWLEDGE = 2.0
"""Seconds that a client has to acknowledge a GOAWAY; one that does not is closed if it is idle."""
ACKNOWLEDGEMENTS = 2
"""How many pings are answered before no call can be on its way: grpcio's client sends the answer to
the first before the calls that it had begun."""
_FLUSH = 65536
_WINDOW = 1 << 20
_CONNECTION_WINDOW = 4 << 20
_LAST = 2**31 - 1
_CONFIG = h2.config.H2Configuration(
    client_side=False,
    header_encoding=None,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
)


class Connection(asyncio.Protocol):
    """One connection of a client; used in the loop's thread.

    Args:
        server: whose it is.
    """

    peer: Peer
    transport: Any

    def __init__(self, server: CallServer) -> None:
        self.server = server
        self.calls: dict[int, Call] = {}
        self.credit_from = _WINDOW // 4
        self._h2 = h2.connection.H2Connection(_CONFIG)
        self._began = server.loop.time()
        self._reading = self._flushing = self._paused = self._closed = False
        self._pending = 0
        self._uncredited = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._called = False
        self._draining = self._leaving = self._acknowledged = self._ending = False
        self._timer: asyncio.TimerHandle | None = None
        self._acknowledgements = 0
        self._budget = Budget(self._began)

    # -- the protocol ------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Begin: send the settings; called by asyncio."""
        self.transport, self.peer = transport, Peer(transport)
        limits = self.server.limits
        self._h2.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: limits.streams,
                h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: limits.headers,
                h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
                h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 0,
            },
        )
        self._h2.decoder.max_header_list_size = limits.headers
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(_CONNECTION_WINDOW - 65535)
        self._flush()
        self._timer = self.server.loop.call_later(limits.first_call, self._close_if_unused)

    def connection_lost(self, _: Exception | None) -> None:
        """Give up what is open; called by asyncio."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for call in list(self.calls.values()):
            call.lost()
        self._wake()

    def pause_writing(self) -> None:
        """Send no more for now, and read no more, of what would have to be answered."""
        self._paused = True
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        if not self._closed:
            self.transport.resume_reading()
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Act on what the client has sent; called by asyncio."""
        self._reading = True
        try:
            for event in self._h2.receive_data(data):
                act = self._ACTIONS.get(type(event))
                if act is not None and not self._closed:
                    act(self, event)
        except h2.exceptions.ProtocolError as error:
            self.server.broken(self, str(error))
            self.close()
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            self.server.broken(self, repr(error))  # h2 and hpack raise these of some wrong frames
            self.abort()
        finally:
            self._reading = False
            self._flush()

    # -- what the client does ----------------------------------------------------------------------

    def _request(self, event: Any) -> None:
        stream = event.stream_id
        if self._acknowledged:
            self._reset(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
            return
        self._called = True
        call = Call(self, stream, event.headers)
        known = call.known
        if known.get(b":method") != b"POST":
            self._refuse(stream, b"405")
            return
        if not known.get(b"content-type", b"").startswith(b"application/grpc"):
            self._refuse(stream, b"415")
            return
        self.calls[stream] = call
        self.server.call_begun()
        with serving.answered(call):
            call.open(event.stream_ended is not None)

    def _refuse(self, stream: int, status: bytes) -> None:
        self.send_headers(stream, [(b":status", status)], last=True)
        self.reset(stream)

    def _data(self, event: Any) -> None:
        size = event.flow_controlled_length
        self._uncredited += size
        if self._uncredited >= _CONNECTION_WINDOW // 4:
            self._h2.increment_flow_control_window(self._uncredited)
            self._uncredited = 0
        call = self.calls.get(event.stream_id)
        ended = event.stream_ended is not None
        if not event.data and not ended:
            self._spend()
        if call is None:
            return
        with serving.answered(call):
            call.received(event.data, size, ended)
            if len(event.data) < call.incoming.held and self._held() > self.server.limits.held:
                raise MessageError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "The requests of this connection take too much memory.",
                )

    def _held(self) -> int:
        """Return the bytes of requests that are not whole, or that no handler has read."""
        return sum(call.incoming.held for call in self.calls.values())

    def _stream_ended(self, event: Any) -> None:
        """Take the end that came without data: after the headers' own it is known."""
        call = self.calls.get(event.stream_id)
        if call is not None:
            with serving.answered(call):
                call.ended()

    def _stream_reset(self, event: Any) -> None:
        call = self.calls.get(event.stream_id)
        if call is not None:
            self._spend()
            call.lost()

    def _window(self, _: Any) -> None:
        self._wake()

    def _settings(self, _: Any) -> None:
        self._spend()
        self._wake()

    def _ping(self, _: Any) -> None:
        self._spend()

    def _priority(self, _: Any) -> None:
        self._spend(0.1)

    def _ping_acknowledged(self, _: Any) -> None:
        if self._leaving and not self._acknowledged:
            self._acknowledgements += 1
            if self._acknowledgements == ACKNOWLEDGEMENTS:
                self._assume_acknowledged()
            else:
                self._h2.ping(b"and more")

    def _terminated(self, _: Any) -> None:
        self.close()

    _ACTIONS: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        h2.events.RequestReceived: _request,
        h2.events.DataReceived: _data,
        h2.events.StreamEnded: _stream_ended,
        h2.events.StreamReset: _stream_reset,
        h2.events.WindowUpdated: _window,
        h2.events.RemoteSettingsChanged: _settings,
        h2.events.PingReceived: _ping,
        h2.events.PriorityUpdated: _priority,
        h2.events.PingAckReceived: _ping_acknowledged,
        h2.events.ConnectionTerminated: _terminated,
    }

    def _spend(self, amount: float = 1.0) -> None:
        """Count what costs us something and brings no call forward; too much ends the connection.

        Answered calls and time earn it again.
        """
        if self._budget.spend(amount, self.server.loop.time()):
            self.server.broken(self, "too many resets, settings, pings or empty frames")
            self._h2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
            self.close()

    # -- what calls do -----------------------------------------------------------------------------

    def send_headers(
        self, stream: int, headers: list[tuple[bytes, bytes]], last: bool = False
    ) -> None:
        """Send headers; nothing happens on a connection that is broken.

        Args:
            stream: of the call.
            headers: in order.
            last: they end the call. They are sent by `flush_soon`.
        """
        if not self._closed:
            try:
                self._h2.send_headers(stream, headers, end_stream=last)
            except h2.exceptions.ProtocolError:  # the client has reset it in the same breath
                return
            if not last:
                self.flush_soon()

    def send_data(self, stream: int, data: bytes | memoryview) -> int:
        """Send as much as the client takes now; return how many bytes it was."""
        if self._paused or self._closed:
            return 0
        total, sent = len(data), 0
        try:
            while sent < total and not self._paused:
                window = self._h2.local_flow_control_window(stream)
                size = min(window, self._h2.max_outbound_frame_size, total - sent)
                if size <= 0:
                    break
                self._h2.send_data(stream, bytes(data[sent : sent + size]))
                sent += size
                self._pending += size
                if self._pending >= _FLUSH:
                    self._flush()
        except h2.exceptions.ProtocolError:
            return sent
        self.flush_soon()
        return sent

    async def writable(self) -> None:
        """Wait until more may be sent, or the connection has ended."""
        if self._closed:
            return
        waiter = self.server.loop.create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def credit(self, stream: int, size: int) -> None:
        """Let the client send more on a stream."""
        if not self._closed:
            try:
                self._h2.increment_flow_control_window(size, stream)
            except h2.exceptions.ProtocolError:
                return
            self.flush_soon()

    def reset(self, stream: int) -> None:
        """Take nothing further from a stream, to which the status is sent."""
        self._reset(stream, h2.errors.ErrorCodes.NO_ERROR)

    def _reset(self, stream: int, code: h2.errors.ErrorCodes) -> None:
        if not self._closed:
            try:
                self._h2.reset_stream(stream, code)
            except h2.exceptions.ProtocolError:
                return

    def call_ended(self, call: Call) -> None:
        """Forget a call."""
        self.calls.pop(call.stream, None)
        if not call.cancelled:
            self._budget.earn()
        self._wake()  # it may wait to send
        if self._leaving:
            self._close_if_idle()
        elif self._draining and not self.calls:
            self.drain()

    def flush_soon(self) -> None:
        """Send what there is: at once, or with what other calls will have sent in this turn."""
        if self._reading or self._flushing:
            return
        if len(self.calls) <= 1:
            self._flush()
        else:
            self._flushing = True
            self.server.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing, self._pending = False, 0
        data = self._h2.data_to_send()
        if data and not self._closed:
            self.transport.write(data)

    # -- its end -----------------------------------------------------------------------------------

    def _close_if_unused(self) -> None:
        if not self._called and not self._leaving:
            self.close()

    def drain(self) -> None:
        """Have the client call elsewhere, let what it has called finish, and close.

        A client that is about to call for the first time is served first.
        """
        if self._leaving or self._closed:
            return
        self._draining = True
        wait = self._began + FRESH - self.server.loop.time()
        if not self._called and wait > 0:
            self.server.loop.call_later(wait, self.drain)
            return
        self._leaving = True
        frame = hyperframe.frame.GoAwayFrame(0, last_stream_id=_LAST)
        self.transport.write(self._h2.data_to_send() + frame.serialize())
        try:
            self._h2.ping(b"last one")
        except h2.exceptions.ProtocolError:
            self.close()
            return
        self._flush()
        self.server.loop.call_later(ACKNOWLEDGE, self._assume_acknowledged)

    def _assume_acknowledged(self) -> None:
        self._acknowledged = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._acknowledged and not self.calls and not self._closed:
            self.close()

    def close(self) -> None:
        """Send what is to send, and close."""
        if self._closed or self._ending:
            return
        self._ending = True
        for call in list(self.calls.values()):
            call.lost()
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.close_connection()
        self._flush()
        self._closed = True
        self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._closed = True
        self.transport.abort()
