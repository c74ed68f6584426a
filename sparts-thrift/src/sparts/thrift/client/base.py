"""What both clients are: a service, where it is, its methods by name, and what is tried again."""

from __future__ import annotations

import copy
import difflib
import itertools
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import retry_delay
from sparts.errors import UsageError
from sparts.thrift.client.codec import make_codec, signature
from sparts.thrift.client.endpoint import Deadline, Endpoint, check_endpoint, tls_context
from sparts.thrift.client.established import check_transport, protocol_name
from sparts.thrift.services import find_service

from thrift.transport.TTransport import TTransportException

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping
    from types import EllipsisType
    from typing import Self

    from sparts.thrift.services import ThriftMethod

MAX_FRAME = 64 * 1024 * 1024
FIRST_DELAY = 0.05
LONGEST_DELAY = 2.0


class ClientBase:
    """A client of one service, whose methods are its own.

    Making it connects to nothing: the first call does. Connections are kept for the next calls; one
    that the server has dropped meanwhile is replaced before it is used.

    Args:
        host: the name or address of the service's host.
        port: its port.
        module: what describes the service: its generated module, or the package that holds it; see
            `sparts.thrift.services`.
        service: the name of the service in ``module``, if that has several.
        unix: the path of a Unix socket, instead of ``host`` and ``port``.
        path: the path of the service's URL, for thrift over HTTP; None: framed thrift.
        headers: further headers of each request over HTTP, such as
            ``{"Authorization": "Bearer TOKEN"}``.
        multiplex_service: the name under which the server knows the service, if it serves several
            on one port.
        protocol: ``"binary"``, ``"compact"`` or ``"json"``.
        tls: True for TLS with the certificates that the system trusts, or a context with others.
        server_hostname: the name that the server's certificate has to have; None: ``host``.
        timeout: how many seconds a call may take as a whole, waiting for a connection, connecting
            and retries included; None: no limit. Looking up the host's name is not interrupted.
        connect_timeout: how many of these connecting may take.
        idempotent: the names of the methods that do no harm when they run twice; True: all of them.
            Only these are tried again when a connection fails.
        retries: how often.
        pool_size: how many connections there may be at once; a call that finds all of them in use
            waits for one.
        max_frame: how many bytes an answer may have.

    Args that sparts 0.7 had:
        lazy: False connects at once, and raises what a call would.
        protocol_class: a class of Apache's protocols instead of ``protocol``.
        transport_class: Apache's framed transport; over HTTP, any.

    A subclass sets the defaults of ``module``, ``host``, ``port``, ``path``, ``connect_timeout``,
    ``protocol_class`` and ``transport_class`` by attributes of these names in capitals.

    Raises:
        UsageError: an argument is wrong; the message says which and why.
    """

    MODULE: ClassVar[Any] = None
    HOST: ClassVar[str | None] = None
    PORT: ClassVar[int | None] = None
    PATH: ClassVar[str | None] = None
    CONNECT_TIMEOUT: ClassVar[float | None] = 5.0
    PROTOCOL_CLASS: ClassVar[Any] = None
    TRANSPORT_CLASS: ClassVar[Any] = None

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        module: Any = None,
        *,
        service: str | None = None,
        unix: str | None = None,
        path: str | None = None,
        headers: Mapping[str, str] | None = None,
        multiplex_service: str | None = None,
        protocol: str = "binary",
        tls: bool | ssl.SSLContext = False,
        server_hostname: str | None = None,
        timeout: float | None = 30.0,
        connect_timeout: float | EllipsisType | None = ...,
        idempotent: Iterable[str] | bool = (),
        retries: int = 2,
        pool_size: int = 16,
        max_frame: int = MAX_FRAME,
        lazy: bool = True,
        protocol_class: Any = None,
        transport_class: Any = None,
    ) -> None:
        module, path = self.MODULE if module is None else module, path or self.PATH
        if not unix:
            host, port = host or self.HOST, port or self.PORT
        host, port = host or "", port or 0
        if connect_timeout is ...:
            connect_timeout = self.CONNECT_TIMEOUT
        protocol = protocol_name(protocol_class or self.PROTOCOL_CLASS, protocol)
        check_transport(transport_class or self.TRANSPORT_CLASS, path)
        if service is None and multiplex_service and _has(module, multiplex_service):
            service = multiplex_service
        self._service = find_service(module, service)
        self._codec = make_codec(self._service, protocol, multiplex_service or "")
        self._endpoint = check_endpoint(
            Endpoint(
                host or "", port, unix or "", path or "", tls_context(tls), server_hostname or host
            ),
            headers or {},
        )
        self._headers = dict(headers or {})
        self._idempotent = self._known(idempotent)
        for name, value in (("timeout", timeout), ("connect_timeout", connect_timeout)):
            if value is not None and not value > 0:
                raise UsageError(f"{name} is a number of seconds above 0, or None; not {value!r}.")
        if pool_size < 1 or retries < 0 or max_frame < 1:
            raise UsageError("pool_size and max_frame are at least 1, and retries at least 0.")
        self._timeout, self._connect_timeout = timeout, connect_timeout
        self._retries, self._max_frame = retries, max_frame
        self._numbers = itertools.count(1)
        self._begin(pool_size)
        if not lazy:
            self._connect_now()

    def _connect_now(self) -> None:
        """Make the first connection; what fails is raised."""
        raise UsageError(f"{type(self).__name__} connects with its first call: leave out lazy=.")

    @property
    def host(self) -> str:
        """The host that it connects to; empty: a Unix socket."""
        return self._endpoint.host

    @property
    def port(self) -> int:
        """The port that it connects to; 0: a Unix socket."""
        return self._endpoint.port

    def _begin(self, pool_size: int) -> None:
        """Get ready to make at most ``pool_size`` connections."""
        raise NotImplementedError

    @classmethod
    def for_hostport(
        cls, host: str | None = None, port: int | None = None, module: Any = None, **options: Any
    ) -> Self:
        """Return a client of a service on a host; ``options`` are those of the class."""
        return cls(host, port, module, **options)

    @classmethod
    def for_localhost(cls, port: int | None = None, module: Any = None, **options: Any) -> Self:
        """Return a client of a service on this host; ``options`` are those of the class."""
        return cls("localhost", port, module, **options)

    @classmethod
    def for_unix(cls, path: str, module: Any = None, **options: Any) -> Self:
        """Return a client of a service on a Unix socket; ``options`` are those of the class, with
        ``http_path`` for thrift over HTTP.
        """
        return cls(module=module, unix=path, path=options.pop("http_path", None), **options)

    def within(self, seconds: float | None) -> Self:
        """Return this client with another ``timeout``: ``client.within(0.5).add(1, 2)``.

        It shares the connections; closing either closes both.
        """
        if seconds is not None and not seconds > 0:
            raise UsageError(f"A time limit is a number of seconds above 0, not {seconds!r}.")
        other = copy.copy(self)
        for name in self._service.methods:
            other.__dict__.pop(name, None)  # these call the other one
        other._timeout = seconds
        return other

    def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the service by its name."""
        raise NotImplementedError

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        method = self._method(name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.call(name, *args, **kwargs)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = method.doc or None
        call.__signature__ = signature(method)  # type: ignore[attr-defined]
        setattr(self, name, call)
        return call

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._service.methods})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._service.name} at {self._endpoint}>"

    # -- for both ----------------------------------------------------------------------------------

    def _method(self, name: str) -> ThriftMethod:
        method = self._service.methods.get(name)
        if method is None:
            near = difflib.get_close_matches(name, self._service.methods, n=1)
            known = ", ".join(sorted(self._service.methods))
            hint = f"Did you mean {near[0]!r}?" if near else f"It has: {known}."
            raise AttributeError(f"{self._service.name} has no method {name!r}. {hint}")
        return method

    def _known(self, idempotent: Iterable[str] | bool) -> frozenset[str]:
        if isinstance(idempotent, bool):
            return frozenset(self._service.methods if idempotent else ())
        names = frozenset([idempotent] if isinstance(idempotent, str) else idempotent)
        for name in names - self._service.methods.keys():
            raise UsageError(f"idempotent: {self._service.name} has no method {name!r}.")
        return names

    def _deadline(self, method: str) -> Deadline:
        """Return the end of the time of a call that begins now."""
        return Deadline(self._timeout, f"{self._endpoint} has not answered {method}")

    def _number(self) -> int:
        """Return a number for a call; they begin again before they leave 31 bits."""
        return next(self._numbers) & 0x7FFFFFFF

    def _delay(self, method: ThriftMethod, error: TTransportException, failures: int) -> float:
        """Return after how many seconds a call that failed is tried again; raise its error if it
        is not.
        """
        again = (TTransportException.NOT_OPEN, TTransportException.END_OF_FILE)
        if method.name not in self._idempotent or error.type not in again:
            raise error
        if failures > self._retries:
            raise error
        return retry_delay(failures - 1, FIRST_DELAY, LONGEST_DELAY)


def _has(module: Any, name: str) -> bool:
    try:
        find_service(module, name)
    except UsageError:
        return False
    return True
