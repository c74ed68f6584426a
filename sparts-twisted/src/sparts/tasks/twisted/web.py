"""TwistedWebTask: serves a Resource of twisted.web by HTTP."""

from __future__ import annotations

import logging
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import timeout_of
from sparts.counters import CallbackCounter, counter
from sparts.net.memory import FULL, SMALL, Requests
from sparts.option_types import size
from sparts.options import Option, option
from sparts.tasks.twisted.calls import WrappedResource
from sparts.tasks.twisted.server import TwistedServerTask

from twisted.web.http import HTTPChannel, combinedLogFormatter, datetimeToLogString
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

if TYPE_CHECKING:
    from collections.abc import Callable

_access = logging.getLogger("twisted.web.access")


class HelloWorld(Resource):
    """Answers ``Hello, world``."""

    isLeaf = True  # noqa: N815 - Twisted's name

    def render_GET(self, request: Any) -> bytes:  # noqa: N802 - Twisted's name
        """Answer a GET."""
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return b"Hello, world" if request.path == b"/" else _not_found(request)


def _not_found(request: Any) -> bytes:
    request.setResponseCode(404)
    return b"Not found"


class CountedRequest(Request):
    """A request whose body counts against the memory for those of all clients."""

    channel: Any
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
        if self._received > SMALL:
            self.channel.site.bodies.hold(self, self._received)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802
        """Answer the request, all of which has come; called by Twisted."""
        self._began = 0.0
        super().requestReceived(command, path, version)  # type: ignore[no-untyped-call]

    def sending_for(self) -> float | None:
        """Return for how many seconds the client has been sending; see `sparts.net.memory`."""
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

    def finish(self) -> None:
        """End the answer; called by the resource."""
        if self.channel is not None:
            self.channel.site.bodies.release(self)
        super().finish()  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted's name
        """Note that the client has gone; called by Twisted."""
        if self.channel is not None:
            self.channel.site.bodies.release(self)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class GracefulChannel(HTTPChannel):
    """A connection that can end after the request that is under way."""

    site: GracefulSite
    _served = False

    def connectionMade(self) -> None:  # noqa: N802 - Twisted's name
        """Begin to wait for a request."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.site.channels.add(self)

    def checkPersistence(self, request: Any, version: bytes) -> bool:  # noqa: N802
        """Return whether another request may follow; called when one's headers have come."""
        self._served = True
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
        return self.open and bool(self.requests) and "connectionLost" not in vars(self)

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
            self.loseConnection()  # type: ignore[no-untyped-call]


class GracefulSite(Site):
    """A site that knows its connections. It reports requests in the log, and needs no timer for
    it.

    Args:
        resource: what is served.
        count: called for each request.
        reactor: where it lives.
        bodies: counts what those of all clients take.
    """

    protocol: Any = GracefulChannel
    requestFactory: Any = CountedRequest  # noqa: N815 - Twisted's name

    def __init__(
        self, resource: Any, count: Callable[[], object], reactor: Any, bodies: Requests
    ) -> None:
        super().__init__(resource, reactor=reactor)  # type: ignore[no-untyped-call]
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

    async def end(self, grace: float, limit: float | None) -> int:
        """Let what has begun finish, and return how many requests were cut off.

        Args:
            grace: seconds that a fresh connection has to begin with its request.
            limit: seconds after which what has not finished is cut off; None: never.
        """
        self.ending = True
        reactor: Any = self.reactor
        cut: list[GracefulChannel] = []
        for channel in list(self.channels):
            channel.end()

        def end_fresh() -> None:
            for channel in list(self.channels):
                if channel.fresh and not channel.busy:
                    channel.loseConnection()  # type: ignore[no-untyped-call]

        def cut_off() -> None:
            cut.extend(channel for channel in list(self.channels) if channel.busy)
            for channel in list(self.channels):
                if channel.open:
                    channel.forceAbortClient()  # type: ignore[no-untyped-call]

        timers = [reactor.callLater(grace if limit is None else min(grace, limit), end_fresh)]
        if limit is not None:
            timers.append(reactor.callLater(limit, cut_off))
        await reactor.when(lambda: not any(channel.open for channel in self.channels))
        for timer in timers:
            if timer.active():
                timer.cancel()
        return len(cut)


class TwistedWebTask(TwistedServerTask):
    """Serves by HTTP what `make_resource` makes, and a greeting unless it is overridden."""

    OPT_PREFIX: ClassVar[str | None] = "web"
    CALL_KIND: ClassVar[str] = "http"
    FIRST_REQUEST_GRACE: ClassVar[float] = 1.0
    """Seconds that a client which has just connected has to send its request when the task stops.
    """

    MAX_MEMORY: ClassVar[int] = 256 * 1024 * 1024
    """Bytes; the default of ``--web-max-memory``."""

    max_memory: Option[int] = option(
        type=size,
        default=lambda cls: cls.MAX_MEMORY,
        metavar="SIZE",
        help="limit for the bodies of all clients that arrive or wait for their answer, in memory"
        " and in temporary files; further ones are answered with 503 (0: no limit)",
        reloadable=False,
        advanced=True,
    )

    requests: counter = counter(help="HTTP requests.")
    bodies_refused: CallbackCounter = CallbackCounter(
        lambda task: task.site.bodies.n_refused if "site" in vars(task) else 0,
        help="Requests refused because those of all clients took too much memory.",
    )

    site: GracefulSite
    """Twisted's site, from the start on."""

    def make_resource(self) -> Any:
        """Return the root of what is served, an ``IResource``; called in the reactor's thread at
        each start.
        """
        return HelloWorld()  # type: ignore[no-untyped-call]

    def make_factory(self) -> Any:
        """Return the site."""
        bodies = Requests(self.max_memory, self.logger)
        count = self.requests.increment
        self.site = GracefulSite(self.make_resource(), count, self.reactor, bodies)
        self.site.task = self if self._call_wrappers else None
        return self.site

    async def stop_in_loop(self) -> None:
        """Let the requests finish that have begun.

        What has not finished one second before the deadline of the stop is cut off, and logged.
        """
        cut = await self.site.end(self.FIRST_REQUEST_GRACE, timeout_of(self.seconds_to_stop()))
        if cut:
            self.logger.warning("Requests cut off, which took too long to finish: %d", cut)
