"""RPCClientTask: one client of an RPC service, which the tasks of a service share."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, cast

from sparts.errors import OptionError
from sparts.generic import Generic
from sparts.option_types import duration
from sparts.options import Option, flag_of, option
from sparts.rpc.proxies import AsyncProxy, connect, connect_async
from sparts.vtask import VTask

T = TypeVar("T")


class RPCClientTask(VTask, Generic[T]):
    """Shares a client of the RPC service at ``--PREFIX-url``: set ``INTERFACE``, and name it in
    ``DEPS`` of the tasks that call it. From any thread.

        class GeoClient(RPCClientTask[Geo]):
            OPT_PREFIX = "geo"
            INTERFACE = Geo
            URL = "http://127.0.0.1:8090"
    """

    LOOPLESS: ClassVar[bool] = True
    OPT_PREFIX: ClassVar[str | None] = "rpc-client"
    INTERFACE: ClassVar[Any] = None
    """The class of the methods, see `connect`."""
    URL: ClassVar[str] = ""
    """The default of ``--PREFIX-url``."""
    TIMEOUT: ClassVar[float] = 60.0
    """Seconds; the default of ``--PREFIX-timeout``."""
    CONNECT_OPTIONS: ClassVar[dict[str, Any]] = {}
    """Further options of `connect`, such as ``headers``."""

    url: Option[str] = option(
        metavar="URL",
        default=lambda cls: cls.URL,
        reloadable=False,
        help="where the service is, such as http://HOST:PORT or grpc://HOST:PORT",
    )
    timeout: Option[float] = option(
        type=duration,
        metavar="DURATION",
        default=lambda cls: cls.TIMEOUT,
        reloadable=False,
        help="how long a call may take, retries included (0: no limit)",
        advanced=True,
    )

    proxy: T
    """Calls the methods as they are declared; from `initTask` on."""
    async_proxy: AsyncProxy[T]
    """Calls the methods from coroutines; from `initTask` on."""

    def initTask(self) -> None:  # noqa: N802
        """Make the clients; connections are made by the first call.

        Raises:
            OptionError: there is no URL.
            UsageError: nobody provides its scheme, or the interface cannot be described.
        """
        super().initTask()
        self._refuse_incomplete()
        known = {**self.CONNECT_OPTIONS, "timeout": self.timeout or None}
        self.proxy = cast("T", connect(self.url, self.INTERFACE, **known))
        self.async_proxy = connect_async(self.url, self.INTERFACE, **known)

    def check(self) -> None:
        """See whether there are an interface and a URL."""
        super().check()
        self._refuse_incomplete()

    def _refuse_incomplete(self) -> None:
        if not self.url or self.INTERFACE is None:
            flag = flag_of(type(self), "url")
            raise OptionError(f"{self.name} needs an INTERFACE, and a URL by {flag}.")

    def stop(self) -> None:
        """Close the connections; what depends on this task has stopped before."""
        super().stop()
        for proxy in (self.proxy, self.async_proxy):
            cast("Any", proxy)._caller.close()  # ``close`` may be a method of the interface
