"""TwistedWebTask: serves a Resource of twisted.web by HTTP."""

from __future__ import annotations

from typing import Any, ClassVar

from sparts.clock import timeout_of
from sparts.counters import CallbackCounter, counter
from sparts.net.listeners import ConnectionLimit, RequestTimeouts
from sparts.net.metering import Requests
from sparts.option_types import size
from sparts.options import Option, option
from sparts.tasks.twisted.server import TwistedServerTask
from sparts.tasks.twisted.site import GracefulSite

from twisted.web.resource import Resource


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


class TwistedWebTask(RequestTimeouts, ConnectionLimit, TwistedServerTask):
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
    connections: CallbackCounter = CallbackCounter(
        lambda task: task._n_connections(), help="Connections that are open now."
    )
    timeouts: CallbackCounter = CallbackCounter(
        lambda task: task.site.n_timeouts if "site" in vars(task) else 0,
        help="Connections closed because the client took too long to send its request, or to "
        "read its answer.",
    )
    refused: CallbackCounter = CallbackCounter(
        lambda task: task._n_refused,
        help="Clients disconnected because too many connections were open.",
    )
    _n_refused = 0

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
        self.site = GracefulSite(
            self.make_resource(),
            count,
            self.reactor,
            bodies,
            read_timeout=self.read_timeout or None,
            idle_timeout=self.idle_timeout or None,
            write_timeout=self.write_timeout or None,
        )
        self.site.task = self if self._call_wrappers else None
        return self.site

    def _n_connections(self) -> int:
        return sum(port.n_connections for port in self._ports)

    def _admits(self) -> bool:
        """Return whether one more connection may be open, and close an idle one for it."""
        admitted = self._n_connections() < self.max_connections or self.site.make_room()
        self._n_refused += not admitted
        return admitted

    async def stop_in_loop(self) -> None:
        """Let the requests finish that have begun.

        What has not finished one second before the deadline of the stop is cut off, and logged.
        """
        limit = timeout_of(self.seconds_to_stop())
        cut = await self.site.end(self.FIRST_REQUEST_GRACE, limit, self._handshakes)
        if cut:
            self.logger.warning("Requests cut off, which took too long to finish: %d", cut)
