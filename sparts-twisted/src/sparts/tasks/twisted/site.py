"""The site of TwistedWebTask: connections that end in order, and clients that are too slow."""

from __future__ import annotations

import logging
import weakref
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.net.metering import FULL, SMALL, Requests
from sparts.tasks.twisted.calls import WrappedResource

from twisted.web.http import HTTPChannel, combinedLogFormatter, datetimeToLogString
from twisted.web.server import Request, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MIN_BODY_RATE = 1000
"""Bytes a second at which a body must come, once its time is over."""
_access = logging.getLogger("twisted.web.access")


class CountedRequest(Request):
    """A request whose body counts against the memory for those of all clients."""

    channel: Any
    asked = False
    """Whether its headers have come."""
    _received = 0
    _began = 0.0
    _refused = False

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Keep a part of the body; called by Twisted."""
        if self._refused:
            return
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]
        self._began = self._began or monotonic()
        self._received += len(data)
        self.channel.allow(len(data))
        if self._received > SMALL:
            self.channel.site.bodies.hold(self, self._received)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """Answer the request, all of which has come; called by Twisted."""
        self._began = 0.0
        if path[:7].lower() in (b"http://", b"https:/"):  # RFC 9112, section 3.2.2
            host, _, rest = path.partition(b"://")[2].partition(b"/")
            self.requestHeaders.setRawHeaders(b"host", [host])
            path = b"/" + rest
        super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def sending_for(self) -> float | None:
        """Return for how many seconds the client has been sending; see `sparts.net.metering`."""
        return monotonic() - self._began if self._began else None

    def refuse_for_memory(self) -> None:
        """Answer that there is no memory for the request, and close its connection."""
        self._refused = True
        if self.startedWriting:
            self.channel.forceAbortClient()
            return
        head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nConnection: close"
        self.channel.transport.write(
            f"{head}\r\nContent-Length: {len(FULL) + 1}\r\n\r\n{FULL}\n".encode()
        )
        self.channel.loseConnection()

    def processingFailed(self, reason: Any) -> Any:  # noqa: N802 - Twisted's name
        """Answer that the resource has failed; an answer that has begun ends its connection."""
        if not self.startedWriting:
            return super().processingFailed(reason)  # type: ignore[no-untyped-call]
        self._log.failure("", failure=reason)
        if not self.finished and self.channel is not None:
            self.channel.loseConnection()
        return reason

    def finish(self) -> None:
        """End the answer; called by the resource."""
        if not self.finished and self.channel is not None:
            self.channel.site.bodies.release(self)
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Note that the client has gone; called by Twisted."""
        if self.channel is not None:
            self.channel.site.bodies.release(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class Stalled:
    """A client that has not read all that was sent to it: it must go on to read.

    Args:
        channel: its connection.
        limit: seconds within which it must read something.
    """

    def __init__(self, channel: GracefulChannel, limit: float) -> None:
        self._channel, self._limit, self._progress = channel, limit, False
        transport: Any = channel.transport
        while hasattr(transport, "transport"):  # TLS is between
            transport = transport.transport
        self._transport, self._write = transport, transport.writeSomeData
        transport.writeSomeData = self._written
        self._timer = channel.site.call_later(limit, self._look)

    def _written(self, data: Any) -> Any:
        written = self._write(data)
        self._progress = self._progress or (isinstance(written, int) and written > 0)
        return written

    def _look(self) -> None:
        if self._progress:
            self._progress = False
            self._timer = self._channel.site.call_later(self._limit, self._look)
        else:
            self._channel.site.n_timeouts += 1
            self._transport.abortConnection()

    def end(self) -> None:
        """Watch no longer."""
        del self._transport.writeSomeData
        if self._timer.active():
            self._timer.cancel()


class GracefulChannel(HTTPChannel):
    """A connection that can end after the request that is under way.

    The whole headers, the body and the next request each have a time of their own, which no single
    byte makes longer. One timer goes on from request to request: Twisted's own would be made and
    cancelled for each.
    """

    site: GracefulSite
    _served = False
    _until = _looks_at = inf
    _timer: Any = None
    _body_until = 0.0
    _stalled: Stalled | None = None

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to wait for a request."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.site.channels.add(self)

    # -- clients that take too long ----------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Take what the client has sent; called by Twisted."""
        if self in self.site.idle:  # the next request begins
            del self.site.idle[self]
            self.setTimeout(self.site.read_timeout)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def setTimeout(self, period: float | None) -> float | None:  # noqa: N802 - Twisted's name
        """Give the client so many seconds (None: any number); return how many it had."""
        previous: float | None = self.timeOut
        self.timeOut = period  # type: ignore[assignment]
        if period is None:
            self._until = inf
            return previous
        now = self.site.seconds()
        self._until = now + period
        if self._until < self._looks_at:
            # Not later than any next request may need it: then it stays for that.
            self._look_at(min(self._until, now + (self.site.read_timeout or inf)), now)
        return previous

    def _look_at(self, when: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._looks_at = when
        self._timer = self.site.call_later(when - now, self._look)

    def _look(self) -> None:
        self._timer, self._looks_at, now = None, inf, self.site.seconds()
        if self._until <= now:
            self.timeoutConnection()
        elif self._until < inf:
            self._look_at(self._until, now)

    def resetTimeout(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing: who sends a byte now and then gets no more time for it."""

    def allHeadersReceived(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to wait for the body, if there is one; called by Twisted."""
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        if self.length != 0:
            self._body_until = self.site.seconds() + (self.site.read_timeout or 0.0)
            self.allow(0)

    def allow(self, received: int) -> None:
        """Give the client more time for a body of which so many bytes have come."""
        if self.site.read_timeout is not None:
            self._body_until += received / MIN_BODY_RATE
            left = max(0.001, self._body_until - self.site.seconds())
            self.setTimeout(left)

    def requestDone(self, request: Any) -> None:  # noqa: N802 - Twisted's name
        """Begin to wait for the next request; called by Twisted."""
        if self.persistent:
            self.site.idle[self] = None
            self._savedTimeOut = None
            self.setTimeout(self.site.idle_timeout)
        super().requestDone(request)  # type: ignore[no-untyped-call]

    def timeoutConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close the connection; called by Twisted."""
        if self in self.site.idle:
            del self.site.idle[self]
        else:
            self.site.n_timeouts += 1
        self.loseConnection()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Note that the client reads more slowly than it is sent to; called by the transport."""
        super().pauseProducing()  # type: ignore[no-untyped-call]
        self._watch_stall()

    def loseConnection(self) -> None:  # noqa: N802 - Twisted's name
        """Close the connection when the client has read all."""
        super().loseConnection()  # type: ignore[no-untyped-call]
        self._watch_stall()

    def _watch_stall(self) -> None:
        if self.site.write_timeout is not None and self._stalled is None and self.open:
            self._stalled = Stalled(self, self.site.write_timeout)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """Note that it has caught up; called by the transport."""
        self._end_stall()
        super().resumeProducing()  # type: ignore[no-untyped-call]

    def _end_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.end()
            self._stalled = None

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted's name
        """Note that the connection has ended; called by Twisted."""
        self.site.idle.pop(self, None)
        self._end_stall()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    # -- its end -----------------------------------------------------------------------------------

    def checkPersistence(self, request: Any, version: bytes) -> bool:  # noqa: N802
        """Return whether another request may follow; called when one's headers have come."""
        self._served = request.asked = True
        self.site.count()
        persistent = bool(super().checkPersistence(request, version))  # type: ignore[no-untyped-call]
        if self.site.ending:
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            return False
        return persistent

    @property
    def open(self) -> bool:
        """Whether the connection is there."""
        return self.transport is not None and bool(self.transport.connected)

    @property
    def busy(self) -> bool:
        """Whether a request is under way (and the connection has not become something else)."""
        begun = any(request.asked for request in self.requests)
        return self.open and begun and "connectionLost" not in vars(self)

    @property
    def fresh(self) -> bool:
        """Whether no request has come yet."""
        return self.open and not self._served

    def end(self) -> None:
        """Take no further request; end now if none is under way or still to come."""
        if self.busy:
            self.persistent = False
            for request in self.requests:
                if not request.startedWriting:
                    request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        elif not self.fresh:
            self.loseConnection()


class GracefulSite(Site):
    """A site that knows its connections. It reports requests in the log, and needs no timer for
    it.

    Args:
        resource: what is served.
        count: called for each request.
        reactor: where it lives.
        bodies: counts what those of all clients take.
        read_timeout: seconds that a client has for its headers, and for a body (one more for each
            `MIN_BODY_RATE` bytes); None: no limit.
        idle_timeout: seconds that a connection may wait for its next request.
        write_timeout: seconds within which a client must read something.
    """

    protocol: Any = GracefulChannel
    requestFactory: Any = CountedRequest  # noqa: N815 - Twisted's name

    def __init__(
        self,
        resource: Any,
        count: Callable[[], object],
        reactor: Any,
        bodies: Requests,
        *,
        read_timeout: float | None = None,
        idle_timeout: float | None = None,
        write_timeout: float | None = None,
    ) -> None:
        super().__init__(resource, reactor=reactor, timeout=read_timeout)  # type: ignore[no-untyped-call]
        self.read_timeout: float | None = read_timeout
        self.idle_timeout: float | None = idle_timeout
        self.write_timeout: float | None = write_timeout
        self.seconds: Callable[[], float] = reactor.seconds
        self.call_later: Callable[..., Any] = reactor.callLater
        self.n_timeouts: int = 0
        self.idle: dict[GracefulChannel, Any] = {}
        """Those that wait for their next request, the longest first."""
        self.bodies = bodies
        self.count = count
        self.ending: bool = False
        self.task: Any = None
        """The task whose calls plugins wrap; None: they wrap none."""
        self.channels: weakref.WeakSet[GracefulChannel] = weakref.WeakSet()

    def startFactory(self) -> None:  # noqa: N802 - Twisted's name
        """Do without the timer that Twisted's own has for its log."""

    def stopFactory(self) -> None:  # noqa: N802 - Twisted's name
        """Do nothing."""

    def getResourceFor(self, request: Any) -> Any:  # noqa: N802 - Twisted's name
        """Return what answers a request; called by Twisted."""
        found = super().getResourceFor(request)  # type: ignore[no-untyped-call]
        return found if self.task is None else WrappedResource(self.task, found)

    def log(self, request: Any) -> None:
        """Log a request that was answered, to ``twisted.web.access`` at level INFO."""
        if _access.isEnabledFor(logging.INFO):
            reactor: Any = self.reactor
            now: Any = datetimeToLogString(reactor.seconds())
            _access.info("%s", combinedLogFormatter(now, request))

    def make_room(self) -> bool:
        """Close a connection that waits for its next request; False: there is none."""
        for channel in self.idle:
            del self.idle[channel]
            channel.loseConnection()
            return True
        return False

    async def end(self, grace: float, limit: float | None, handshakes: Collection[Any] = ()) -> int:
        """Let what has begun finish, and return how many requests were cut off.

        Args:
            grace: seconds that a fresh connection has to begin with its request.
            limit: seconds after which what has not finished is cut off; None: never.
            handshakes: those which have yet to finish their TLS handshake, as it is at any time.
        """
        self.ending = True
        reactor: Any = self.reactor
        cut: list[GracefulChannel] = []
        for channel in list(self.channels):
            channel.end()

        def end_fresh() -> None:
            for connection in list(handshakes):
                connection.abortConnection()
            for channel in list(self.channels):
                if channel.fresh and not channel.busy:
                    channel.loseConnection()

        def cut_off() -> None:
            cut.extend(channel for channel in list(self.channels) if channel.busy)
            for channel in list(self.channels):
                if channel.open:
                    channel.forceAbortClient()  # type: ignore[no-untyped-call]

        timers = [reactor.callLater(grace if limit is None else min(grace, limit), end_fresh)]
        if limit is not None:
            timers.append(reactor.callLater(limit, cut_off))
        await reactor.when(
            lambda: not handshakes and not any(channel.open for channel in self.channels)
        )
        for timer in timers:
            if timer.active():
                timer.cancel()
        return len(cut)
