"""An HTTP server that ends without cutting off a request, and that no slow client holds up."""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.net.accepting import Acceptor
from sparts.net.metering import Requests
from sparts.tasks.tornado.streams import LAST, Lingering, Stream, make_stream

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from tornado.websocket import WebSocketHandler

#: Websocket's status code for "going away" (RFC 6455, section 7.4.1).
GOING_AWAY = 1001
#: Seconds that handlers have to notice that their connection was cut off.
CLOSING = 0.5


class GracefulHTTPServer(HTTPServer):
    """Tornado's server, which knows what each of its connections is doing.

    All of this happens in the loop's thread. What a connection costs here is one timer for all of
    them, which wakes the loop when the oldest may have to be closed.
    """

    MIN_BODY_RATE: ClassVar[int] = 1000
    """Bytes a second of a body that prolong the time that the client has for it."""
    STALLED: ClassVar[float] = 3.0
    """Seconds without progress after which a body is not waited for any more at the stop."""
    LINGER: ClassVar[float] = 30.0
    """Seconds that a client has to read why its request was refused, while it may still send."""

    def initialize(
        self,
        *args: Any,
        task: Any = None,
        loop: asyncio.AbstractEventLoop | None = None,
        idle_timeout: float = 0.0,
        read_timeout: float = 0.0,
        write_timeout: float = 0.0,
        max_connections: float = inf,
        max_memory: int = 0,
        **kwargs: Any,
    ) -> None:
        """Make the server.

        Args:
            args: Tornado's.
            task: the server task, which reports that no connection can be accepted.
            loop: where the server lives; None: the loop that runs.
            idle_timeout: seconds that a connection may wait for its next request; 0: no limit.
            read_timeout: seconds that a client has to send the headers of its first request, and
                for a body; 0: as long as it likes.
            write_timeout: seconds within which a client must read something; 0: no limit.
            max_connections: how many may be open; for one more, the one is closed that has waited
                longest for its next request, or else who comes is disconnected.
            max_memory: bytes that the bodies of all clients may take together; 0: no limit.
            kwargs: Tornado's.
        """
        super().initialize(*args, **kwargs)
        self.conn_params.header_timeout = None  # it would cost a timer for each request
        self._task = task
        self._idle_timeout, self._read_timeout = idle_timeout, read_timeout
        self._write_timeout, self._max_connections = write_timeout, max_connections
        self.requests: Requests = Requests(max_memory, getattr(task, "logger", None))
        self._open: set[Stream] = set()
        self._fresh: dict[Stream, None] = {}  # in the order of `since`, as is the next
        self._idle: dict[Stream, None] = {}
        self._reading: dict[Stream, None] = {}
        self._websockets: dict[WebSocketHandler, Stream] = {}
        self._stalled: dict[Stream, None] = {}  # in the order of `stalled_since`
        self._lingering: dict[Lingering, None] = {}  # in the order of `since`
        self._acceptors: list[Acceptor] = []
        self._loop: asyncio.AbstractEventLoop = loop or asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.ending: bool = False
        """Whether the last answers are given; said before the first of them."""
        self._changed: asyncio.Event | None = None
        """Set when what the end waits for has changed; not None: the server ends."""
        self.n_timeouts: int = 0
        """How many connections were closed because the client took too long."""
        self.n_refused: int = 0
        """How many clients were disconnected because too many connections were open."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the server lives on."""
        return self._loop

    @property
    def n_connections(self) -> int:
        """How many connections are open, websockets among them."""
        return len(self._open) + len(self._websockets) + len(self._lingering)

    # -- connections -------------------------------------------------------------------------------

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on these sockets, which stay the caller's."""
        accepted, open_now = self._accepted, lambda: self.n_connections
        acceptor = Acceptor(self._task, sockets, accepted, self._admits, open_now)
        self._acceptors.append(acceptor)

    def _admits(self) -> bool:
        """Return whether one more connection may be open, and close an idle one for it."""
        if self.n_connections < self._max_connections:
            return True
        idle = next((each for each in self._idle if not each.has_input()), None)
        if idle is None:
            self.n_refused += 1
            return False
        self._close(idle)
        return True

    def stop(self) -> None:
        """Accept no more connections."""
        for acceptor in self._acceptors:
            acceptor.stop()
        self._acceptors.clear()

    def _accepted(self, connection: socket.socket, address: Any) -> None:
        """Make the stream of a new connection, in place of Tornado's."""
        try:
            stream = make_stream(connection, self)
        except OSError:  # it has gone already
            connection.close()
        else:
            self.handle_stream(stream, address)

    def handle_stream(self, stream: Stream, address: tuple[Any, ...]) -> None:  # type: ignore[override]
        """Begin to serve a new connection."""
        self._open.add(stream)
        self._wait_for_request(stream, self._fresh, self._read_timeout)
        super().handle_stream(stream, address)

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        """Begin to wait for a request; called for the first of a connection, and after each."""
        stream: Stream = server_conn.stream
        if stream.refuse_request is not None:
            stream.release()
        if stream.last or stream.closed():
            stream.close()
            return HTTPMessageDelegate()  # what has come already is not begun with
        if stream.asked:
            self._wait_for_request(stream, self._idle, self._idle_timeout)
        stream.asked, stream.answered = True, False
        if self.xheaders:
            return super().start_request(server_conn, request_conn)
        application: Any = self.request_callback
        delegate: HTTPMessageDelegate = application.start_request(server_conn, request_conn)
        return delegate

    def _wait_for_request(self, stream: Stream, waits: dict[Stream, None], timeout: float) -> None:
        stream.waits = waits
        stream.since = now = self._loop.time()
        waits[stream] = None
        if self._changed is not None:
            self._changed.set()
        if timeout and (self._timer is None or now + timeout < self._timer_at):
            self._set_timer(now + timeout)

    def stop_waiting(self, stream: Stream) -> None:
        """Wait for no request any more: its headers have come, or the connection ends."""
        if stream.waits is not None:
            stream.waits.pop(stream, None)
            stream.waits = None
            if self._changed is not None:
                self._changed.set()

    def reads_body(self, stream: Stream) -> None:
        """Note that a body is to come."""
        stream.since, stream.received = self._loop.time(), 0
        self.resume_body(stream, 0.0)

    def resume_body(self, stream: Stream, paused: float) -> None:
        """Wait for more of a body, after ``paused`` seconds that were not the client's."""
        stream.since += paused
        self._reading[stream] = None
        if self._read_timeout:
            self._wake_at(self._body_deadline(stream))

    def body_read(self, stream: Stream) -> None:
        """Note that a body has come, or is not waited for just now."""
        self._reading.pop(stream, None)

    def _body_deadline(self, stream: Stream) -> float:
        return stream.since + self._read_timeout + stream.received / self.MIN_BODY_RATE

    def on_close(self, server_conn: Any) -> None:
        """Note that a connection has ended, or was handed on (a websocket)."""
        super().on_close(server_conn)
        self._open.discard(server_conn.stream)
        if server_conn.stream.websocket is None:
            server_conn.stream.release()
        self.stop_waiting(server_conn.stream)
        self.body_read(server_conn.stream)
        self._settle()

    def _settle(self) -> None:
        """Note that a connection has ended; without any, there is no timer."""
        for acceptor in self._acceptors:
            acceptor.recount()
        if not self._open and not self._stalled and not self._lingering:
            self._cancel_timer()
        if self._changed is not None:
            self._changed.set()

    def websocket_opened(self, handler: WebSocketHandler) -> None:
        """Note a new websocket; called in the asyncio task that serves it to its end."""
        connection: Any = handler.request.connection
        stream = self._websockets[handler] = connection.stream
        stream.become(handler)
        serving: Any = asyncio.current_task()
        serving.add_done_callback(lambda _: self._websocket_ended(handler))
        if self._changed is not None:
            self._loop.call_soon(handler.close, GOING_AWAY)

    def _websocket_ended(self, handler: WebSocketHandler) -> None:
        self._websockets.pop(handler).release()
        self._settle()

    # -- clients that take too long ----------------------------------------------------------------

    def stalled(self, stream: Stream) -> None:
        """Note that a client takes nothing more for now; called at each attempt to send more."""
        if not self._write_timeout:
            return
        taken = stream.taken()
        if stream in self._stalled and taken <= stream.taken_before:
            return
        self._stalled.pop(stream, None)
        self._stalled[stream] = None
        stream.taken_before, stream.stalled_since = taken, self._loop.time()
        self._wake_at(stream.stalled_since + self._write_timeout)

    def gone(self, stream: Stream) -> None:
        """Note that a stream is about to be closed."""
        if stream in self._stalled:
            del self._stalled[stream]
            self._settle()

    def linger(self, sock: socket.socket, answer: bytes) -> None:
        """Send a last answer, if it is not empty, and close when the client has read it."""
        lingering = Lingering(sock, answer, self._loop, self._lingered)
        self._lingering[lingering] = None
        self._wake_at(lingering.since + self.LINGER)

    def _lingered(self, lingering: Lingering) -> None:
        del self._lingering[lingering]
        self._settle()

    def _wake_at(self, when: float) -> None:
        """See to it that `_close_late` is called by then."""
        if self._timer is None or when < self._timer_at:
            self._set_timer(when)

    def _set_timer(self, when: float) -> None:
        self._cancel_timer()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._close_late)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _close_late(self) -> None:
        """Close what has taken too long, and set the timer for what may be next."""
        self._timer, now, following = None, self._loop.time(), []
        for waits, timeout in ((self._fresh, self._read_timeout), (self._idle, self._idle_timeout)):
            for stream in list(waits) if timeout else ():
                if stream.since + timeout > now:
                    following.append(stream.since + timeout)
                    break
                self._close(stream, late=waits is self._fresh)
        for stream in list(self._reading) if self._read_timeout else ():
            deadline = self._body_deadline(stream)
            if deadline <= now:
                self._close(stream, late=True)
            else:
                following.append(deadline)
        following += self._close_stalled(now)
        for lingering in list(self._lingering):
            if lingering.since + self.LINGER > now:
                following.append(lingering.since + self.LINGER)
                break
            lingering.close()
        if following:
            self._set_timer(min(following))

    def _close_stalled(self, now: float) -> list[float]:
        """Close what has stalled for too long; return when the next may be due."""
        for stream in list(self._stalled):
            if stream.stalled_since + self._write_timeout > now:
                break
            if not stream.writing():
                del self._stalled[stream]
                continue
            self.stalled(stream)  # the system reports room only when much of its buffer is free
            if stream.stalled_since + self._write_timeout <= now:
                self.n_timeouts += 1
                stream.reset()
        return [stream.stalled_since + self._write_timeout for stream in self._stalled][:1]

    def _close(self, stream: Stream, late: bool = False) -> None:
        self.n_timeouts += late
        stream.abort()  # and `on_close` comes soon
        self.stop_waiting(stream)
        self.body_read(stream)

    # -- the end -----------------------------------------------------------------------------------

    async def end(self, waiting: Iterable[socket.socket], grace: float, limit: float | None) -> int:
        """Let what has begun finish, and return how many requests were cut off.

        Args:
            waiting: connections that waited in the listening sockets, which are served too.
            grace: seconds that a connection has to begin with its request if it is fresh or was
                just now busy. Its client gets an answer, which says that it is the last.
            limit: seconds after which what has not finished is cut off; None: never.
        """
        self.stop()
        began = self._loop.time()
        self._changed, self.ending = asyncio.Event(), True
        self.conn_params.no_keep_alive = True  # responses from now on say so
        for stream in self._open:  # a response that is under way says so if it still can
            stream.last = stream.waits is None and not stream.answered
        for client in waiting:
            try:
                self._accepted(client, client.getpeername())
            except OSError:  # it has gone already
                client.close()
        for handler in list(self._websockets):
            handler.close(GOING_AWAY)
        for stream in list(self._idle):
            if stream.since < began - grace and not stream.has_input():
                stream.close()
        cut = await self._finish(None if limit is None else began + limit, grace)
        for busy in self._open:
            busy.abort()
        for stream in list(self._websockets.values()):
            stream.abort()
        for lingering in list(self._lingering):
            lingering.close()
        closed = self._loop.time() + CLOSING
        while (self._open or self._websockets) and await self._change(closed):
            pass
        self._cancel_timer()
        return cut

    async def _finish(self, until: float | None, grace: float) -> int:
        """Wait for the end of what is busy; return how many requests were cut off."""
        cut = 0
        stalled: dict[Stream, int] = {}
        look = self._loop.time() + self.STALLED
        while self._open or self._websockets or self._lingering:
            now = self._loop.time()
            for stream in (*self._fresh, *self._idle):
                if stream.since + grace <= now:
                    stream.close()
            for lingering in list(self._lingering):
                if lingering.since + max(grace, LAST) <= now:
                    lingering.close()
            if look <= now:
                for stream, before in stalled.items():
                    progress = stream.received - before
                    if stream in self._reading and progress < self.MIN_BODY_RATE * self.STALLED:
                        self._close(stream)
                        cut += 1
                look = now + self.STALLED
                stalled = {stream: stream.received for stream in self._reading}
            ends = [stream.since + grace for stream in (*self._fresh, *self._idle)]
            ends += [lingering.since + max(grace, LAST) for lingering in self._lingering]
            ends += [look] if self._reading else []
            ends += [] if until is None else [until]
            changed = await self._change(min(ends, default=None))
            if not changed and until is not None and self._loop.time() >= until:
                break
        return cut + sum(stream.waits is None for stream in self._open)

    async def _change(self, until: float | None) -> bool:
        """Wait for a change in what is waited for; False: ``until`` has come before."""
        changed = self._changed or asyncio.Event()
        try:
            async with asyncio.timeout_at(until):
                await changed.wait()
        except TimeoutError:
            return False
        changed.clear()
        return True
