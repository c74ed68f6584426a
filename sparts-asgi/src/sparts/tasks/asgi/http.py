"""HTTP/1.1 connections: uvicorn's protocol on httptools, with limits, counters and a drain.

It overrides private parts of uvicorn, since wrappers in its public places cost 7 us a request (0.83
of its rate), and this 1 us. For the same reason it calls the methods of its base by name. A test
holds what it needs of uvicorn.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
from sparts.logs import log_fields
from sparts.net.metering import FULL, LOST, SMALL, RequestFields
from sparts.tasks.asgi.cycle import ANSWERED, Cycle, Flow, Output, PlainOutput
from sparts.tasks.asgi.refusing import LINGERING, Refusing
from sparts.tasks.asgi.shared import Timed
from sparts.tasks.asgi.websockets import WebSocket
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from sparts.tasks.asgi.shared import Shared

FRESH, HEAD, BUSY, IDLE = range(4)
"""What a connection does: nothing yet, the first bytes of a request have come, it is answered, it
waits for the next request. `LINGERING` is the fifth of them."""

MAX_OVERHEAD = 8
"""Bytes that may come with each byte of a body; in chunks of one byte these are five."""
MIN_BODY_RATE = 1000
"""Bytes a second of a body that prolong the time that the client has for it."""
INPUT = 0.1
"""Seconds until what has arrived at an idle connection has been read, at the stop."""


class Connection(Refusing, Timed):
    """One HTTP connection."""

    # Beside the attributes of uvicorn's, with which there are too many for the quick kind.
    __slots__ = (
        "_begin", "_end", "_head", "_lingering", "_max_body", "_max_headers", "_meter",
        "_overhead", "_received", "_refusal", "_stalled", "_whole", "current", "output", "phase",
        "shared", "since",
    )  # fmt: skip

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.config, shared.state, shared.app_state, shared.loop)
        self.shared: Shared = shared
        self.logger: Any = shared.logger
        self.access_log = False
        self.phase: int = FRESH
        self.since: float = 0.0
        self.current: Any = None  # the cycle that is under way
        self._meter, self._begin, self._end = shared.meter, shared.meter.begin, shared.meter.end
        self._max_body, self._max_headers = shared.limits.max_body, shared.limits.max_headers
        self._received = 0  # bytes of the body
        self._overhead = 0  # bytes that came with the body
        self._head = 0  # bytes of a head that is not complete
        self._refusal: tuple[int, str, bool] | None = None
        self._whole: Any = None  # answers the request that is being read, if all of it has come
        self._lingering: asyncio.TimerHandle | None = None
        self._stalled = (0.0, 0)  # since when the client has read nothing; how much waits for it

    # -- asyncio's events --------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Begin to serve a connection."""
        super().connection_made(transport)
        self.flow: Flow = Flow(transport)
        self.output: Output = Output(transport, self.finish, self.fail)
        self.since = perf_counter()
        self.shared.watch()

    def data_received(self, data: bytes) -> None:
        """Take in what a client sends."""
        if self._refusal is not None or self.phase == LINGERING:
            return  # what is refused is read to its end, so that the answer is not lost
        cycle, busy, received = self.cycle, self.phase == BUSY, self._received
        answered = not busy and cycle is not None and cycle.more_body  # too early
        if not busy:
            self._head += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif self._declines():
                self._decline(data[upgrade.args[0] :])
                return
        if self._whole is not None:
            self._whole = None
            if self.current is not None:
                self._run(self.current, self.app)
        if self.shared.ending:
            self._end_soon()
        if answered or self.phase == BUSY:
            self._head = 0
            if (busy or answered) and cycle is self.cycle and cycle.more_body:
                self._add_overhead(len(data) - (self._received - received))
        elif self._head and self._refusal is None:
            if self.phase == IDLE:
                self.phase, self.since = HEAD, perf_counter()
            if self._head > self._max_headers:
                self.refuse(431, f"The headers are longer than {self._max_headers} bytes.")

    def _add_overhead(self, number: int) -> None:
        """Count bytes that came with a body: sizes of chunks, or trailers, which nobody reads."""
        self._overhead += number
        if self._overhead > self._max_headers + MAX_OVERHEAD * self._received:
            if self.cycle.response_complete:
                self.transport.close()
            elif self._refusal is None:
                self.refuse(431, f"The trailers are longer than {self._max_headers} bytes.")

    def connection_lost(self, error: Exception | None) -> None:
        """Count a request whose client has gone before the response was complete."""
        cycle = self.current
        if cycle is not None and not cycle.ended:
            self._ended(cycle, LOST, 0)
            if (lost := cycle.scope.get("sparts.lost")) is not None:
                lost()
        self.shared.requests.release(self)
        self.pipeline.clear()
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(error)

    def pause_writing(self) -> None:
        """Note that the client reads less than it is sent."""
        super().pause_writing()
        self._stalled = (perf_counter(), self.transport.get_write_buffer_size())

    # -- the parser's events -----------------------------------------------------------------------

    def on_headers_complete(self) -> None:
        """Begin with a request, unless it announces too much."""
        parser = self.parser
        upgrade = parser.should_upgrade()
        if self._refusal is not None or (upgrade and self._declines()):
            return
        self._received = self._overhead = 0
        if self._head > self._max_headers and self._too_long(self._max_headers):
            self.refuse(431, f"The headers are longer than {self._max_headers} bytes.", True)
            return
        method = parser.get_method()
        if method != b"GET":
            for name, value in self.headers:
                if name == b"content-length" and int(value[:20]) > self._max_body:
                    self.refuse(413, f"The body is longer than {self._max_body} bytes.", True)
                    return
        self.phase = BUSY
        if not (upgrade and self._should_upgrade()):
            cycle = self._make_cycle(method)
            self.headers: Any = []  # of its own, which get the trailers
            before: Any = self.cycle
            self.cycle: Any = cycle
            if before is None or before.response_complete:
                self._start(cycle)
                whole = self.shared.whole
                later = self.shared.ending or self.expect_100_continue or self.flow.write_paused
                if whole is not None and not later:
                    self._whole = whole(cycle.scope)
                if self._whole is None:
                    self._run(cycle, self.app)
            else:
                self.flow.pause_reading()
                self.pipeline.appendleft((cycle, self.app))

    def _make_cycle(self, method: bytes) -> Cycle:
        """Return the cycle of a request whose headers have come.

        It does what uvicorn does, which gives no other way to have a `Cycle`: to change the class
        of a cycle costs two microseconds.
        """
        scope, version = self.scope, self.parser.get_http_version()
        scope["method"] = method.decode("ascii")
        if version != "1.1":
            scope["http_version"] = version
        url = httptools.parse_url(self.url)
        path = url.path.decode("ascii")
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + url.path
        scope["query_string"] = url.query or b""
        if version == "1.0":
            self.expect_100_continue = False  # it does not know that (RFC 9110, section 10.1.1)
            cycle = Cycle(self, keep_alive=False)
            cycle.transport = PlainOutput(self.transport, None, self.fail)
            return cycle
        return Cycle(self, self.parser.should_keep_alive())

    def _too_long(self, limit: int) -> bool:
        return sum(len(name) + len(value) + 4 for name, value in self.headers) > limit

    def on_body(self, body: bytes) -> None:
        """Take in a part of a body."""
        if self._refusal is not None:
            return
        self._received += len(body)
        if self._received > self._max_body and self.cycle.response_complete:
            self.transport.close()
        elif self._received > self._max_body:
            self.refuse(413, f"The body is longer than {self._max_body} bytes.")
        elif (
            self._received <= SMALL
            or self.cycle.response_complete
            or self.shared.requests.hold(self, self._received)
        ):
            HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """Note that a request is complete."""
        cycle = self.cycle
        if self._refusal is None and cycle is not None:
            cycle.more_body = False
            cycle.message_event.set()
            if (whole := self._whole) is not None:
                self._whole = None
                self.loop.call_soon(cycle.run_whole, whole)

    def _start(self, cycle: Any) -> None:
        """Begin to count a request."""
        shared, now = self.shared, perf_counter()
        if now >= shared.date_until:
            shared.renew_date(now)
        cycle.began, scope = now, cycle.scope
        scope["sparts.service"] = shared.service
        cycle.fields = RequestFields(scope["headers"])
        self._begin()
        self.current = cycle
        log_fields.set(cycle.fields)

    def _run(self, cycle: Any, app: Any) -> None:
        """Run the application for a request."""
        task = self.loop.create_task(self.shared.run(cycle, app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        """Count and log a response, and go on with the next request; called by uvicorn."""
        self.output.flush()
        cycle, self.current = self.current, None
        cycle.transport = ANSWERED
        now = self._ended(cycle, cycle.status // 100, cycle.status)
        if self.shared.requests.taken:
            self.shared.requests.release(self)
        if self.phase == LINGERING or self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start(cycle)
            if self.shared.ending:
                self._end_soon()
            self._run(cycle, app)
            return
        self.phase, self.since = IDLE, now
        if self._refusal is not None:
            self._send_refusal()
        elif self.shared.ending:
            self.loop.call_later(self.shared.limits.grace, self._close_if_idle)

    def _ended(self, cycle: Any, outcome: int, status: int) -> float:
        now = self._end(outcome, cycle.began)
        cycle.ended = True
        if self._meter.logs(outcome):
            self.shared.log(outcome, status, cycle.scope, now - cycle.began, cycle.fields)
        return now

    def handle_websocket_upgrade(self) -> None:
        """Hand a connection on to the protocol of websockets; called by uvicorn."""
        self.connections.discard(self)
        websocket = WebSocket(self.shared)
        websocket.connection_made(self.transport)
        self.shared.follow(self, websocket)
        self.transport.set_protocol(websocket)
        websocket.data_received(self._written_head())

    def _declines(self) -> bool:
        """Whether a request for another protocol asks for one that is not spoken here, as h2c."""
        return self.parser.get_method() != b"CONNECT" and not self._should_upgrade()

    def _decline(self, rest: bytes) -> None:
        """Answer such a request as HTTP/1.1; the parser would leave out its body."""
        head, self._head = self._written_head(b"upgrade"), 0
        self.parser: Any = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(head + rest)

    def _written_head(self, but: bytes = b"") -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s\r\n" % (self.parser.get_method(), self.url, version)]
        lines += [b"%s: %s\r\n" % pair for pair in self.headers if pair[0] != but]
        return b"".join(lines) + b"\r\n"

    # -- clients that take too long, and the end ---------------------------------------------------

    def deadline(self, now: float) -> float | None:
        """Return when this connection has to be closed; see `Timed`."""
        limits = self.shared.limits
        if self.flow.write_paused and limits.write_timeout:
            waiting = self.transport.get_write_buffer_size()
            if waiting < self._stalled[1]:
                self._stalled = (now, waiting)
            return self._stalled[0] + limits.write_timeout
        if self.phase in (FRESH, HEAD):
            return self.since + limits.read_timeout if limits.read_timeout else None
        if self.phase == IDLE:
            return self.since + limits.idle_timeout if limits.idle_timeout else None
        cycle = self.current
        if cycle is None or not cycle.more_body or not limits.read_timeout or self.flow.read_paused:
            return None
        began: float = max(cycle.began, getattr(self.flow, "resumed", 0.0))
        return began + limits.read_timeout + self._received / MIN_BODY_RATE

    def sending_for(self) -> float | None:
        """Return for how long the client has been sending a body; see `sparts.net.metering`."""
        cycle = self.current
        return perf_counter() - cycle.began if cycle is not None and cycle.more_body else None

    def refuse_for_memory(self) -> None:
        """Answer that there is no memory for the request."""
        self.refuse(503, FULL)

    def close_late(self) -> bool:
        """Close a connection that takes too long; see `Timed`."""
        if self.phase == IDLE and not self.flow.write_paused:
            self.transport.close()
            return False
        self.transport.abort()
        return True

    @property
    def idle(self) -> bool:
        """Whether the connection waits for its next request."""
        return self.phase == IDLE and not self.transport.is_closing()

    def drain(self) -> None:
        """Answer what has begun, with the word that it is the last; called at the stop.

        A client that has just connected, or got an answer that did not say so, has
        `Limits.grace` for one request more.
        """
        if self.current is not None:
            self._end_soon()
        elif self.phase in (FRESH, IDLE):
            left = self.since + self.shared.limits.grace - perf_counter()
            self.loop.call_later(max(left, INPUT), self._close_if_idle)
        elif self.phase == HEAD:
            self.loop.call_later(self.shared.limits.grace, self._close_if_idle)

    def _end_soon(self) -> None:
        """Have the response under way be the last, unless more requests have come."""
        cycle = self.current
        if cycle is not None and not cycle.response_started and not self.pipeline:
            cycle.keep_alive = False

    def _close_if_idle(self) -> None:
        if self.phase in (FRESH, HEAD, IDLE):
            self.finish()
