"""An HTTP server as a task."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import counter
from sparts.listeners import Listening
from sparts.tasks.tornado.ioloop import TornadoTask
from sparts.tasks.tornado.server import GracefulHTTPServer

from tornado.web import Application, RequestHandler

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.httputil import HTTPServerRequest


class HelloWorldHandler(RequestHandler):
    """Answers ``Hello, world``."""

    def get(self) -> None:
        """Answer a GET."""
        self.write("Hello, world")


class _CountingApplication(Application):
    """An application that counts its requests."""

    def __init__(self, routes: list[Any], count: Callable[[], object], **settings: Any) -> None:
        super().__init__(routes, **settings)
        self._count = count

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Choose who answers a request; called by Tornado once for each."""
        self._count()
        return super().find_handler(request, **kwargs)


class TornadoHTTPTask(Listening, TornadoTask):
    """Serves HTTP: what `getApplicationConfig` says, and a greeting unless it is overridden."""

    OPT_PREFIX = "http"
    APPLICATION_SETTINGS: ClassVar[dict[str, Any]] = {}
    """Settings of the `tornado.web.Application`."""

    FIRST_REQUEST_GRACE: ClassVar[float] = 1.0
    """Seconds that a client which has just connected has to send its request when the task stops.
    """

    requests = counter(help="HTTP requests.")

    application: Application
    """The Tornado application, from `initTask` on."""
    server: GracefulHTTPServer
    """The Tornado server, from the start on."""

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the routes: what `tornado.web.Application` takes. Called once, in `initTask`."""
        return [("/", HelloWorldHandler)]

    def initTask(self) -> None:  # noqa: N802
        """Make the application."""
        super().initTask()
        self.application = _CountingApplication(
            self.getApplicationConfig(), self.requests.increment, **self.APPLICATION_SETTINGS
        )

    def start_in_loop(self) -> None:
        """Begin to accept connections."""
        self.server = GracefulHTTPServer(self.application, ssl_options=self.ssl_context)
        self.server.add_sockets(self.take_sockets())
        self.log_started()

    async def stop_in_loop(self) -> None:
        """Accept no more connections, and let the requests finish that have begun.

        What has not finished one second before the deadline of the stop is cut off, and logged.
        """
        limit = None
        if self.stop_deadline is not None:
            limit = max(0.0, self.stop_deadline - monotonic() - 1.0)
        cut = await self.server.end(self.FIRST_REQUEST_GRACE, limit)
        if cut:
            self.logger.warning("%d requests were cut off: they took too long to finish", cut)

    def join(self) -> None:
        """Wait for the end of the server; its sockets are closed even when the loop has crashed."""
        super().join()
        self.close_sockets()
