"""RPCHTTPTask: serves the RPC tasks of a service over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.net.hosts import allowed_host_option
from sparts.options import Option, option
from sparts.rpc.transport import RPCTransport
from sparts.tasks.asgi.rpc.application import RPCApplication
from sparts.tasks.asgi.rpc.hosts import Hosts
from sparts.tasks.asgi.rpc.routes import refusal
from sparts.tasks.asgi.task import AsgiTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.rpc.interface import Method


class RPCHTTPTask(RPCTransport, AsgiTask):
    """Serves the methods of the service's `RPCTask` tasks over HTTP: JSON, JSON-RPC, OpenAPI."""

    OPT_PREFIX: ClassVar[str | None] = "rpc-http"
    TRANSPORT: ClassVar[str] = "HTTP"
    DEFAULT_PORT: ClassVar[int] = 8090
    MAX_BODY: ClassVar[int] = 64 * 1024 * 1024
    """Bytes; the default of ``--rpc-http-max-body``."""
    CORS: ClassVar[Sequence[str]] = ()
    """Origins whose pages may call; the default of ``--rpc-http-cors``."""

    app_name = None  # type: ignore[assignment]  # it has its own

    cors: Option[Any] = option(
        action="append",
        metavar="ORIGIN",
        default=lambda cls: list(cls.CORS),
        help="origin whose pages may call, such as https://example.com; may be repeated; *: any",
        reloadable=False,
    )

    allowed_host: Option[list[str] | None] = allowed_host_option()

    _application: RPCApplication

    def refuse_method(self, method: Method) -> str:
        """Return why JSON cannot carry a type of a method, if so."""
        parts = [(f"parameter {each.name}", each.type) for each in method.parameters]
        for where, type_ in [*parts, ("result", method.result)]:
            if why := refusal(type_):
                return f"{where}, {type_.name}: {why}"
        return ""

    def app(self) -> Any:
        """Return the application; called once, in `initTask`."""
        cors, hosts = self.cors or (), Hosts(lambda: self.allowed_host or ())
        served = self.find_served()
        self._application = RPCApplication(self.service, cors=cors, served=served, hosts=hosts)
        return self._application

    def check(self) -> None:
        """See whether all methods can be carried."""
        self.app()

    async def stop_in_loop(self) -> None:
        """Let calls finish, and streams for `streams.GRACE` seconds at most."""
        self._application.streams.end(self.seconds_to_stop())
        await super().stop_in_loop()
