"""Where a server task listens, by its options, and the TLS that its connections have.

`Listening` is the mixin of server tasks whose sockets the service opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import CallbackCounter
from sparts.errors import OptionError
from sparts.net import EVERY
from sparts.net import Address as Address
from sparts.net import TLSFiles as TLSFiles
from sparts.net import format_address as format_address
from sparts.net.sockets import Listeners as Listeners
from sparts.option_types import duration, size
from sparts.option_types import port as port_number
from sparts.options import Option, dest_of, flag_of, option, prefix_of, source_of
from sparts.shown import ours, service_of

if TYPE_CHECKING:
    import argparse
    import logging
    import socket
    import ssl
    from collections.abc import Callable, Sequence


class ListeningOptions:
    """A mixin for server tasks that bind for themselves: the options of where they listen.

    Such a task listens at `address`, with `ssl_context` or `tls_files`, and sets `bound_addrs`.
    Derive from `Listening` instead to get sockets that are bound.
    """

    DEFAULT_HOST: ClassVar[str] = ""
    """Empty: every address, IPv4 and IPv6."""
    DEFAULT_PORT: ClassVar[int] = 0
    DEFAULT_SOCK: ClassVar[str | None] = None
    BACKLOG: ClassVar[int] = 1024
    """How many connections may wait to be accepted; the system's own limit counts too."""
    ALPN: ClassVar[Sequence[str]] = ()
    """The protocols that TLS offers to clients, the preferred one first: ``("h2", "http/1.1")``.
    """
    RESERVE: ClassVar[bool] = False
    """Whether the service reserves the port of a task that binds for itself.

    The service then binds it with ``SO_REUSEPORT`` and does not listen, before any task is
    initialised and across restarts. `bound_addrs` says where; the task binds the same with
    ``SO_REUSEPORT``. Only the user who reserved a port can bind it, so ``--user`` is refused.
    """
    _opened_by: ClassVar[type[Listeners]] = Listeners
    _binds_itself: ClassVar[bool] = True

    host: Option[str] = option(
        metavar="HOST",
        default=lambda cls: cls.DEFAULT_HOST,
        help="address to listen on, or several with commas; none: every one",
        reloadable="restart",
    )
    port: Option[int] = option(
        type=port_number,
        metavar="PORT",
        default=lambda cls: cls.DEFAULT_PORT,
        help="port to listen on; 0: a free one",
        reloadable="restart",
    )
    ipv6_only: Option[bool] = option(
        default=False,
        help="do not listen on IPv4 addresses where the host is :: or none",
        advanced=True,
        reloadable="restart",
    )
    sock: Option[str] = option(
        metavar="PATH",
        default=lambda cls: cls.DEFAULT_SOCK,
        help="path of a Unix socket to listen on instead",
        reloadable="restart",
    )
    sock_group: Option[str] = option(
        metavar="GROUP",
        help="group that may use the Unix socket (without it: only its owner)",
        advanced=True,
        reloadable="restart",
    )
    tls_cert: Option[str] = option(
        metavar="FILE",
        help="serve TLS with this certificate chain (PEM)",
        reloadable=False,
    )
    tls_key: Option[str] = option(
        metavar="FILE",
        help="private key of the certificate, if it is in another file",
        reloadable=False,
    )
    tls_ca: Option[str] = option(
        metavar="FILE",
        help="require client certificates signed by these authorities (PEM)",
        reloadable=False,
        advanced=True,
    )
    certificate_expires: CallbackCounter = CallbackCounter(
        lambda task: _expiry(task.tls_cert),
        help="When the TLS certificate expires, since the epoch.",
        unit="seconds",
    )

    if TYPE_CHECKING:
        name: str
        logger: logging.Logger

    bound_addrs: list[Any]
    """What is listened on, as `socket.getsockname` gives it, from before `initTask` on. A task
    that binds for itself without ``RESERVE`` sets it."""

    @property
    def bound_v4_addrs(self) -> list[Any]:
        """The IPv4 addresses of `bound_addrs`: pairs of host and port."""
        return [each for each in self.bound_addrs if isinstance(each, tuple) and len(each) == 2]

    @property
    def bound_v6_addrs(self) -> list[Any]:
        """The IPv6 addresses of `bound_addrs`: host, port, flow and scope."""
        return [each for each in self.bound_addrs if isinstance(each, tuple) and len(each) == 4]

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse a port and a Unix socket at the same time; see `VTask.check_options`."""
        super().check_options(options)  # type: ignore[misc]
        of_port = source_of(options, dest_of(type(self), "port"))
        of_sock = source_of(options, dest_of(type(self), "sock"))
        if ListeningOptions.sock.read(self, options) and of_port.explicit and of_sock.explicit:
            flag = flag_of(type(self))
            raise OptionError(
                f"{flag}-sock and {flag}-port exclude each other (the port comes from: "
                f"{of_port}). Leave one of them out."
            )

    def address(self) -> Address:
        """Return where this task's options say that it listens.

        Raises:
            OptionError: both a port and a Unix socket were given, and not by a default.
        """
        options = service_of(self).options
        self.check_options(options)
        port, group, backlog = self.port or 0, self.sock_group, self.BACKLOG
        flag = prefix_of(type(self)).replace("_", "-")
        given = source_of(options, dest_of(type(self), "port")).explicit
        sock = "" if given else self.sock or ""
        hosts, lenient = self._hosts()
        return Address(ours(self).name, flag, hosts, port, sock, group or "", backlog, lenient)

    def _hosts(self) -> tuple[tuple[str, ...], frozenset[str]]:
        """Return the hosts to listen on, and which of them a system may lack."""
        given = [each.strip() for each in (self.host or "").split(",")]
        hosts: dict[str, bool] = {}
        for host in [each for each in given if each] or [""]:
            name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
            every = name in ("", "::")
            for one in EVERY[self.ipv6_only :] if every else (name,):
                hosts[one] = every and hosts.get(one, True)
        both = len(hosts) > 1
        return tuple(hosts), frozenset(host for host, every in hosts.items() if every and both)

    def tls_files(self) -> TLSFiles | None:
        """Return what this task's options say of TLS; None: it does without.

        Raises:
            OptionError: there is no certificate for what else was given.
        """
        cert, key, ca = self.tls_cert or "", self.tls_key or "", self.tls_ca or ""
        flag = prefix_of(type(self)).replace("_", "-")
        if not cert and (key or ca):
            given = "key" if key else "ca"
            raise OptionError(f"--{flag}-tls-{given} needs --{flag}-tls-cert, the certificate.")
        return TLSFiles(flag, cert, key, ca) if cert else None

    @property
    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS of this task's connections, from before `initTask` on; None: they have none.

        One object for the whole life of the task: after a reload (SIGHUP) it gives connections that
        begin the new certificate. Nothing has to be done for that, and open connections go on.
        """
        context: ssl.SSLContext | None = service_of(self).listeners.ssl_context(ours(self).name)
        return context

    def configure_tls(self, context: ssl.SSLContext) -> None:
        """Set what else this task needs of TLS: ciphers, versions, certificates by name.

        Called for each context: before `initTask`, and again at each reload and restart, in the
        lifecycle thread. The files and `ALPN` are in it already. The default does nothing. An
        exception fails the start; at a reload or restart, the context of before stays in use, with
        a warning.
        """

    def prepare_tls(self, context: ssl.SSLContext) -> None:
        """Set `ALPN`, and what `configure_tls` sets; called by the service."""
        if self.ALPN:
            context.set_alpn_protocols(list(self.ALPN))
        self.configure_tls(context)

    def log_started(self) -> None:
        """Log one line for each address that is served."""
        for address in self.bound_addrs:
            ours(self).logger.info(
                "%s Server Started on %s", ours(self).name, format_address(address)
            )


def _expiry(path: str | None) -> float | None:
    """Return when a certificate expires; None, so that the counter is left out: there is none."""
    if not path:
        return None
    from sparts.net.certificates import expiry  # few need it

    return expiry(path)


def _limit(kind: Callable[[str], Any], attribute: str, help: str, metavar: str = "") -> Any:
    """Declare an option whose default is a class attribute."""
    return option(
        type=kind,
        default=lambda cls: getattr(cls, attribute),
        metavar=metavar or ("SIZE" if kind is size else "DURATION"),
        help=help,
        reloadable=False,
        advanced=True,
    )


def refuse_below_one(
    task: Any, options: argparse.Namespace, *numbers: Option[int] | Option[int | None]
) -> None:
    """Raise `OptionError` if one of some options of a task is a number below 1; for
    ``check_options``.
    """
    for number in numbers:
        value = number.read(task, options)
        if value is not None and value < 1:
            flag = flag_of(type(task), number.name)
            raise OptionError(f"{flag} must be 1 or more, not {value}.")


class ConnectionLimit:
    """A mixin for server tasks: the option ``max_connections``; the task has to keep to it."""

    MAX_CONNECTIONS: ClassVar[int] = 10_000
    """The default of ``--PREFIX-max-connections``."""

    max_connections: Option[int] = _limit(
        int,
        "MAX_CONNECTIONS",
        "how many connections may be open; a further client replaces an idle one, or else is"
        " disconnected",
        "N",
    )

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse a limit that lets nobody in; see `VTask.check_options`."""
        super().check_options(options)  # type: ignore[misc]
        refuse_below_one(self, options, ConnectionLimit.max_connections)


class RequestTimeouts:
    """A mixin for HTTP servers: options that limit how slow clients may be; the task has to keep to
    them.
    """

    IDLE_TIMEOUT: ClassVar[float] = 75.0
    """Seconds; the default of ``--PREFIX-idle-timeout``."""
    READ_TIMEOUT: ClassVar[float] = 30.0
    """Seconds; the default of ``--PREFIX-read-timeout``."""
    WRITE_TIMEOUT: ClassVar[float] = 60.0
    """Seconds; the default of ``--PREFIX-write-timeout``."""

    idle_timeout: Option[float] = _limit(
        duration,
        "IDLE_TIMEOUT",
        "close a connection that has waited this long for its next request (0: never)",
    )
    read_timeout: Option[float] = _limit(
        duration,
        "READ_TIMEOUT",
        "time limit for the first headers, and for a body (one second more for each 1000 bytes);"
        " 0: no limit",
    )
    write_timeout: Option[float] = _limit(
        duration,
        "WRITE_TIMEOUT",
        "close a connection whose client has read nothing for this long (0: never)",
    )


class RequestLimits(RequestTimeouts):
    """A mixin for HTTP servers: options that limit requests; the task has to keep to them."""

    MAX_BODY: ClassVar[int] = 10 * 1024 * 1024
    """Bytes that the body of a request may have; the default of ``--PREFIX-max-body``."""
    MAX_MEMORY: ClassVar[int] = 256 * 1024 * 1024
    """Bytes; the default of ``--PREFIX-max-memory``."""
    MAX_HEADERS: ClassVar[int] = 64 * 1024
    """Bytes that the headers of a request may have; the default of ``--PREFIX-max-headers``."""

    max_body: Option[int] = _limit(
        size, "MAX_BODY", "longest body of a request; a longer one is answered with 413"
    )
    max_memory: Option[int] = _limit(
        size,
        "MAX_MEMORY",
        "memory limit for the bodies of all clients that arrive or wait for their answer; further"
        " ones are answered with 503 (0: no limit)",
    )
    max_headers: Option[int] = _limit(
        size, "MAX_HEADERS", "longest headers of a request; longer ones are answered with 431"
    )


# -- sockets that the service opens ----------------------------------------------------------------


class Listening(ListeningOptions):
    """A mixin for server tasks: the options of their sockets, and the sockets.

    The service opens them before any task is initialised. A server takes its own with
    `take_sockets`, speaks TLS on their connections where there is an `ssl_context`, gives them up
    with `stop_listening` when it stops, and calls `close_sockets` when it has ended.
    """

    _binds_itself: ClassVar[bool] = False
    _sockets: list[socket.socket]

    def take_sockets(self) -> list[socket.socket]:
        """Return this instance's non-blocking duplicates of its listening sockets.

        Connections that they accept send without delay (``TCP_NODELAY``).
        """
        self._close_duplicates()
        self._sockets = service_of(self).listeners.duplicates(ours(self).name)
        return self._sockets

    def stop_listening(self) -> list[socket.socket]:
        """Close this task's sockets, and return the connections that wait in them, non-blocking.

        Call it at the stop, from any thread that does not accept any more, and serve what it
        returns: a connection that waits in a socket which closes is reset. At a restart it returns
        none, since those are the next instance's.
        """
        self._close_duplicates()
        waiting: list[socket.socket] = []
        if not service_of(self).health.restarting:
            waiting = service_of(self).listeners.close(ours(self).name, take=True)
        return waiting

    def close_sockets(self) -> None:
        """Close the duplicates and, unless the service restarts, the process's own sockets."""
        self._close_duplicates()
        service = service_of(self)
        if not service.health.restarting and "listeners" in service.hooks.kept:
            service.listeners.close(ours(self).name)

    def _close_duplicates(self) -> None:
        for sock in getattr(self, "_sockets", ()):
            sock.close()
        self._sockets = []
