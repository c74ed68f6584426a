"""An HTTP server as a task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import timeout_of
from sparts.counters import CallbackCounter
from sparts.errors import UsageError
from sparts.net.listeners import ConnectionLimit, Listening, RequestLimits
from sparts.net.metering import Metered
from sparts.options import Option, option
from sparts.tasks.tornado.application import CountedApplication
from sparts.tasks.tornado.ioloop import TornadoTask
from sparts.tasks.tornado.server import GracefulHTTPServer

from tornado.web import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tornado.web import Application


class HelloWorldHandler(RequestHandler):
    """Answers ``Hello, world``."""

    def get(self) -> None:
        """Answer a GET."""
        self.write("Hello, world")


class TornadoHTTPTask(Metered, RequestLimits, ConnectionLimit, Listening, TornadoTask):
    """Serves HTTP: what `getApplicationConfig` says, by default a greeting."""

    OPT_PREFIX: ClassVar[str | None] = "http"
    CALL_KIND: ClassVar[str] = "http"
    APPLICATION_SETTINGS: ClassVar[dict[str, Any]] = {}
    """Settings of the `tornado.web.Application`, such as ``static_path``."""

    FIRST_REQUEST_GRACE: ClassVar[float] = 1.0
    """Seconds that a client which has just connected, or got an answer, has to send its next
    request when the task stops.
    """
    XHEADERS: ClassVar[bool] = False
    """Whether to believe a proxy's headers; the default of ``--http-xheaders``."""
    TRUSTED_DOWNSTREAM: ClassVar[Sequence[str]] = ()
    """Addresses of proxies that are skipped in ``X-Forwarded-For``, from its end."""

    xheaders: Option[bool] = option(
        type=bool,
        default=lambda cls: cls.XHEADERS,
        help="trust X-Forwarded-For, X-Real-Ip and X-Forwarded-Proto; only behind a proxy that"
        " sets them",
        reloadable=False,
        advanced=True,
    )
    connections: CallbackCounter = CallbackCounter(
        lambda task: task.server.n_connections if "server" in vars(task) else 0,
        help="Open connections, websockets among them.",
    )
    timeouts: CallbackCounter = CallbackCounter(
        lambda task: task.server.n_timeouts if "server" in vars(task) else 0,
        help="Connections closed because the client took too long to send its request, or to "
        "read its answer.",
    )
    refused: CallbackCounter = CallbackCounter(
        lambda task: task.server.n_refused if "server" in vars(task) else 0,
        help="Clients disconnected because too many connections were open.",
    )

    bodies_refused: CallbackCounter = CallbackCounter(
        lambda task: task.server.requests.n_refused if "server" in vars(task) else 0,
        help="Requests refused because those of all clients took too much memory.",
    )

    application: Application
    """The Tornado application, from `initTask` on."""
    server: GracefulHTTPServer
    """The Tornado server, from `initTask` on."""
    ending: asyncio.Event
    """Set in the loop when the task begins to stop, from the start on: responses without an end
    (streams, server-sent events) wait for it, and end.
    """

    @property
    def app(self) -> Application:
        """The same as `application`, by its name of before."""
        return self.application

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the routes: what `tornado.web.Application` takes. Called once, in `initTask`."""
        return [("/", HelloWorldHandler)]

    def tornadoRequestLog(self, handler: RequestHandler) -> None:  # noqa: N802
        """Learn of a response; called in the loop when it is finished, for each that has a handler.

        The response was counted and logged before. The default does nothing. An exception is
        logged.
        """

    def initTask(self) -> None:  # noqa: N802
        """Make the application."""
        super().initTask()
        routes: Any = self.getApplicationConfig()
        if not isinstance(routes, Iterable) or isinstance(next(iter(routes), None), str):
            from sparts.places import named

            where = named(type(self), "getApplicationConfig")
            raise UsageError(f"{where} must return a list of routes, not {routes!r}.")
        self.application = CountedApplication(self, list(routes), **self.APPLICATION_SETTINGS)
        self.server = self.make_server()

    def make_server(self) -> GracefulHTTPServer:
        """Make the server, without sockets; called in `initTask`, and in the loop if that runs
        again after a failure.
        """
        ioloop: Any = self.ioloop
        return GracefulHTTPServer(
            self.application,
            task=self,
            loop=ioloop.asyncio_loop,
            ssl_options=self.ssl_context,
            xheaders=self.xheaders,
            trusted_downstream=list(self.TRUSTED_DOWNSTREAM),
            max_body_size=sys.maxsize,  # the application holds bodies to the limit
            max_header_size=self.max_headers,
            idle_timeout=self.idle_timeout or 0.0,
            read_timeout=self.read_timeout or 0.0,
            write_timeout=self.write_timeout or 0.0,
            max_connections=self.max_connections,
            max_memory=self.max_memory and max(self.max_memory, self.max_body),
        )

    def start_in_loop(self) -> Any:
        """Begin to accept connections."""
        self.ending = asyncio.Event()
        if self.server.loop is not asyncio.get_running_loop():
            self.server = self.make_server()
        self.server.add_sockets(self.take_sockets())
        self.log_started()

    async def stop_in_loop(self) -> None:
        """Accept no more connections, and let the requests finish that have begun.

        Clients that wait to be accepted are served too. What has not finished after
        `seconds_to_stop` is cut off, and logged.
        """
        self.ending.set()
        self.server.stop()
        restarting = self._instance.health.restarting
        cut = await self._end_server()
        if restarting and not self._instance.health.restarting:
            cut += await self._end_server()  # a stop has come: no next instance serves who waits
        if cut:
            self.logger.warning("Requests cut off, which took too long to finish: %d", cut)

    async def _end_server(self) -> int:
        limit = timeout_of(self.seconds_to_stop())
        return await self.server.end(self.stop_listening(), self.FIRST_REQUEST_GRACE, limit)

    def join(self) -> None:
        """Wait for the end of the server; its sockets are closed even when the loop has crashed."""
        super().join()
        self.close_sockets()
