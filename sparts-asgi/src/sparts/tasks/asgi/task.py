"""AsgiTask: an ASGI application, served by uvicorn's protocols on the sockets of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import timeout_of
from sparts.counters import CallbackCounter
from sparts.errors import OptionError, StartError
from sparts.net.listeners import RequestLimits
from sparts.net.metering import Metered
from sparts.options import Option, flag_of, option
from sparts.tasks.asgi.calls import no_application, wrapped_websockets
from sparts.tasks.asgi.cycle import Cycle, wrapped_requests
from sparts.tasks.asgi.http import Connection
from sparts.tasks.asgi.lifespan import Lifespan
from sparts.tasks.asgi.loading import check_call, class_attribute, load
from sparts.tasks.asgi.logs import AppLogger
from sparts.tasks.asgi.shared import Limits, Shared
from sparts.tasks.asyncio_server import AsyncioServerTask
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence


class AsgiTask(Metered, RequestLimits, AsyncioServerTask):
    """Serves an ASGI application: of FastAPI, Starlette, Django, or any other.

    The application is ``APP``, or what `app` returns. Its requests find the service in
    ``scope["sparts.service"]``.
    """

    OPT_PREFIX: ClassVar[str | None] = "asgi"
    CALL_KIND: ClassVar[str] = "http"
    ALPN: ClassVar[Sequence[str]] = ("http/1.1",)
    APP: ClassVar[Any] = None
    """The application: ``"module:name"``, ``"module:make()"``, or an ASGI callable. A string is the
    default of ``--asgi-app``."""
    TRUSTED: ClassVar[Sequence[str]] = ()
    """Addresses and networks of proxies; the default of ``--asgi-trusted``."""
    ROOT_PATH: ClassVar[str] = ""
    """The default of ``--asgi-root-path``."""
    MAX_MESSAGE: ClassVar[int] = 16 * 1024 * 1024
    """Bytes that a message of a websocket may have."""

    app_name: Option[str] = option(
        name="app",
        type=str,
        metavar="MODULE:NAME",
        default=lambda cls: cls.APP if isinstance(cls.APP, str) else None,
        help="the application: a name in a module, or NAME() to call a function that makes it",
        reloadable=False,
    )
    root_path: Option[str] = option(
        type=str,
        metavar="PATH",
        default=lambda cls: cls.ROOT_PATH,
        help="path under which a proxy shows the application",
        reloadable=False,
        advanced=True,
    )
    trusted: Option[Any] = option(
        action="append",
        metavar="ADDRESS",
        default=lambda cls: list(cls.TRUSTED),
        help="trust X-Forwarded-For and X-Forwarded-Proto from this address or network; may be"
        " repeated; *: from every client",
        reloadable=False,
        advanced=True,
    )

    timeouts: CallbackCounter = CallbackCounter(
        lambda task: task._shared.n_timeouts if task._shared else 0,
        help="Connections closed because the client took too long to send its request, or to read "
        "its response.",
    )

    bodies_refused: CallbackCounter = CallbackCounter(
        lambda task: task._shared.requests.n_refused if task._shared else 0,
        help="Requests refused because those of all clients took too much memory.",
    )

    ending: asyncio.Event
    """Set in the loop when the task begins to stop, from the start on: responses without an end
    (streams, server-sent events) wait for it, and end."""

    _run: Any = staticmethod(Cycle.run_asgi)
    _shared: Shared | None = None
    _lifespan: Lifespan | None = None

    def app(self) -> Any:
        """Return the ASGI application; called once, in `initTask`.

        The default returns what ``--asgi-app`` or ``APP`` says. An exception fails the start.
        """
        own, flag = class_attribute(type(self), "APP"), self._flag("app")
        if self.app_name:
            return load(self.app_name, flag)
        if own is None:
            raise StartError(f"{self.name} has no application: give {flag} MODULE:NAME.")
        return own

    def _flag(self, name: str) -> str:
        return flag_of(type(self), name)

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse a proxy that can be no client's address; see `VTask.check_options`."""
        super().check_options(options)
        for each in AsgiTask.trusted.read(self, options) or ():
            try:
                ip_network("::/0" if each == "*" else each)
            except ValueError as error:
                raise OptionError(f"{self._flag('trusted')}: {error}.") from None

    def initTask(self) -> None:  # noqa: N802
        """Find the application."""
        super().initTask()
        app, proxied, trusted = self.asgi_app(), None, list(self.trusted or ())
        if trusted:
            hosts = "*" if "*" in trusted else trusted
            proxied = partial(ProxyHeadersMiddleware, trusted_hosts=hosts)
        if self._call_wrappers:
            self._run = wrapped_requests(self, app, proxied and proxied(no_application))
            app = wrapped_websockets(self, app)
        self._app = proxied(app) if proxied else app

    def check(self) -> None:
        """See whether the application can be found."""
        super().check()
        self.callable_app()

    def asgi_app(self) -> Any:
        """Return what is served, as ASGI; called once, in `initTask`. The default: `app`."""
        return self.callable_app()

    def callable_app(self) -> Any:
        """Return what `app` returns, if it can be called as an ASGI application.

        Raises:
            StartError: it cannot; it may be a WSGI application.
        """
        app = self.app()
        check_call(app, ["scope", "receive", "send"], "WsgiTask serves WSGI applications.")
        return app

    def n_in_flight(self) -> int:
        """Return how many requests and websockets the application serves."""
        return len(self._shared.state.tasks) if self._shared is not None else 0

    # -- in the loop -------------------------------------------------------------------------------

    async def start_in_loop(self) -> None:
        """Have the application start, and begin to accept connections."""
        self.ending = asyncio.Event()
        self._lifespan = lifespan = Lifespan(self._app, self.logger)
        await lifespan.start()
        self._shared = shared = Shared(
            service=self.service,
            meter=self.meter,
            logger=AppLogger(self.logger, self.loop_task.exit_asked),
            app=self._app,
            run=self._run,
            app_state=lifespan.state,
            limits=self._limits(),
            root_path=(self.root_path or "").rstrip("/"),
            connections=self._connections,
            follow=self._follow,
        )
        self.serve(self._make_connection(shared), self._make_room)

    def _connections(self) -> list[Any]:
        return self._server.connections if self._server is not None else []

    def _follow(self, old: Any, new: Any) -> None:
        if self._server is not None:
            self._server.follow(old, new)

    @staticmethod
    def _make_connection(shared: Shared) -> Callable[[], asyncio.BaseProtocol]:
        return lambda: Connection(shared)

    def _limits(self) -> Limits:
        return Limits(
            max_body=self.max_body,
            max_memory=self.max_memory and max(self.max_memory, self.max_body),
            max_headers=self.max_headers,
            max_message=self.MAX_MESSAGE,
            idle_timeout=self.idle_timeout or 0.0,
            read_timeout=self.read_timeout or 0.0,
            write_timeout=self.write_timeout or 0.0,
            grace=self.FIRST_REQUEST_GRACE,
        )

    def _make_room(self) -> bool:
        """Close a connection that waits for its next request; False: there is none."""
        idle = next((each for each in self._connections() if getattr(each, "idle", False)), None)
        if idle is None:
            return False
        idle.transport.abort()
        return True

    async def stop_in_loop(self) -> None:
        """Let requests finish, then what the application does after them, and its lifespan."""
        self.ending.set()
        shared, lifespan = self._shared, self._lifespan
        if shared is not None:
            shared.ending = True
            await self.end_serving()
            shared.close()
            await self._end_tasks(set(shared.state.tasks))
        if lifespan is not None:
            await lifespan.stop(timeout_of(max(0.5, self.seconds_to_stop())))

    async def _end_tasks(self, tasks: set[asyncio.Task[None]]) -> None:
        """Wait for what the application does after its responses; cancel what takes too long."""
        if not tasks:
            return
        left = (await asyncio.wait(tasks, timeout=timeout_of(self.seconds_to_stop())))[1]
        for task in left:
            task.cancel()
        if left:
            self.logger.warning("Requests cut off, which took too long: %d", len(left))
            await asyncio.wait(left, timeout=0.5)
