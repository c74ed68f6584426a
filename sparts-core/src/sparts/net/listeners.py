"""The sockets of server tasks: host, port, unix, inherited; TLS; what they are bound to.

Listening sockets are the process's. They are opened before tasks are initialised, each instance of
the service gets duplicates of them, and they stay open across a restart, so that no connection
that waits in one is reset.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sparts import systemd
from sparts.errors import OptionError, StartError
from sparts.option_types import port as port_number
from sparts.options import option, source_of

if TYPE_CHECKING:
    import argparse
    import logging
    import socket
    import ssl
    from collections.abc import Callable, Iterable

    from sparts.net.tls import TLS
    from sparts.vservice import VService


class Address(NamedTuple):
    """Where a server task is to listen, by its options."""

    owner: str
    """The name of the task."""
    prefix: str
    """The prefix of its options, for messages."""
    hosts: tuple[str, ...]
    port: int
    path: str
    """The path of a Unix socket; empty: TCP."""
    group: str
    backlog: int

    def __str__(self) -> str:
        return self.path or ", ".join(format_address((host, self.port)) for host in self.hosts)


class TLSFiles(NamedTuple):
    """What the TLS of a server task is made of, by its options: paths of PEM files."""

    prefix: str
    """The prefix of its options, for messages."""
    cert: str
    key: str
    """Empty: the key is in the file of the certificate."""
    ca: str
    """Empty: clients need no certificate."""


class Listening:
    """A mixin for server tasks: the options of their sockets, and the sockets.

    The service opens them before any task is initialised. A server takes its own with
    `take_sockets`, speaks TLS on their connections where there is an `ssl_context`, gives them up
    with `stop_listening` when it stops, and calls `close_sockets` when it has ended.
    """

    DEFAULT_HOST: ClassVar[str] = "0.0.0.0"  # noqa: S104 - a server is there to be reached
    DEFAULT_PORT: ClassVar[int] = 0
    DEFAULT_SOCK: ClassVar[str | None] = None
    BACKLOG: ClassVar[int] = 1024
    """How many connections may wait to be accepted; the system's own limit counts too."""

    host = option(
        type=str,
        metavar="HOST",
        default=lambda cls: cls.DEFAULT_HOST,
        help="address to listen on; several are separated by commas",
    )
    port = option(
        type=port_number,
        metavar="PORT",
        default=lambda cls: cls.DEFAULT_PORT,
        help="port to listen on; 0 takes a free one",
    )
    sock = option(
        type=str,
        metavar="PATH",
        default=lambda cls: cls.DEFAULT_SOCK,
        help="path of a Unix socket to listen on instead",
    )
    sock_group = option(
        type=str,
        metavar="GROUP",
        help="group that may use the Unix socket (without it: its owner alone)",
        advanced=True,
    )
    tls_cert = option(
        type=str,
        metavar="FILE",
        help="serve TLS with this certificate (PEM, its chain after it); read anew at SIGHUP",
        reloadable=False,
    )
    tls_key = option(
        type=str,
        metavar="FILE",
        help="private key of the certificate, if it is in another file",
        reloadable=False,
    )
    tls_ca = option(
        type=str,
        metavar="FILE",
        help="demand of clients a certificate by one of these authorities",
        reloadable=False,
        advanced=True,
    )

    if TYPE_CHECKING:
        name: str
        logger: logging.Logger
        service: VService

        @classmethod
        def option_prefix(cls) -> str: ...  # noqa: D102

    _sockets: list[socket.socket]
    bound_addrs: list[Any]
    """What the sockets are bound to, as `socket.getsockname` tells it; after `take_sockets`."""

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse a port and a Unix socket at the same time; see `VTask.check_options`."""
        super().check_options(options)  # type: ignore[misc]
        prefix = self.option_prefix()
        of_port = source_of(options, f"{prefix}_port")
        of_sock = source_of(options, f"{prefix}_sock")
        if Listening.sock.read(self, options) and of_port.explicit and of_sock.explicit:
            flag = prefix.replace("_", "-")
            raise OptionError(
                f"--{flag}-sock and --{flag}-port exclude each other (the port comes from: "
                f"{of_port}). Leave one of them out."
            )

    def address(self) -> Address:
        """Return where this task's options say that it listens.

        Raises:
            OptionError: both a port and a Unix socket were given, and not by a default.
        """
        options = self.service.options
        self.check_options(options)
        port, group, backlog = self.port or 0, self.sock_group, self.BACKLOG
        prefix = self.option_prefix()
        flag = prefix.replace("_", "-")
        sock = "" if source_of(options, f"{prefix}_port").explicit else self.sock or ""
        hosts = tuple(filter(None, map(str.strip, (self.host or "").split(","))))
        every = ("0.0.0.0",)  # noqa: S104 - a server is there to be reached
        return Address(self.name, flag, hosts or every, port, sock, group or "", backlog)

    def tls_files(self) -> TLSFiles | None:
        """Return what this task's options say of TLS; None: it does without.

        Raises:
            OptionError: there is no certificate for what else was given.
        """
        cert, key, ca = self.tls_cert or "", self.tls_key or "", self.tls_ca or ""
        flag = self.option_prefix().replace("_", "-")
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
        return self.service.listeners.ssl_context(self.name)

    def take_sockets(self) -> list[socket.socket]:
        """Return this instance's non-blocking duplicates of its listening sockets, and note
        `bound_addrs`."""
        self._sockets = self.service.listeners.duplicates(self.address())
        self.bound_addrs = [sock.getsockname() for sock in self._sockets]
        return self._sockets

    def log_started(self) -> None:
        """Log one line for each address that is served."""
        for address in self.bound_addrs:
            self.logger.info("%s Server Started on %s", self.name, format_address(address))

    def stop_listening(self) -> list[socket.socket]:
        """Close this task's sockets, and return the connections that wait in them, non-blocking.

        Call it at the stop, from any thread that does not accept any more, and serve what it
        returns: a connection that waits in a socket which closes is reset. At a restart it returns
        none, since those are the next instance's.
        """
        self._close_duplicates()
        return [] if self.service.restarting else self.service.listeners.close(self.name, take=True)

    def close_sockets(self) -> None:
        """Close the duplicates and, unless the service restarts, the process's own sockets."""
        self._close_duplicates()
        if not self.service.restarting:
            self.service.listeners.close(self.name)

    def _close_duplicates(self) -> None:
        for sock in getattr(self, "_sockets", ()):
            sock.close()
        self._sockets = []


class Listeners:
    """All listening sockets of a process and their TLS, handed from one instance of its service to
    the next.
    """

    def __init__(self) -> None:
        self._open: dict[Address, list[socket.socket]] = {}
        self._tls: dict[str, TLS] = {}
        self._inherited: dict[str, list[int]] | None = None
        self._adopted: set[Address] = set()  # whose sockets somebody else holds too
        self._kept: dict[str, list[Any]] = {}

    def open(self, tasks: Iterable[Any]) -> None:
        """Open what the server tasks among these ask for; keep what is open already, close the
        rest.

        Raises:
            StartError: an address or a file cannot be used; the message names the option and the
                reason.
        """
        servers = [task for task in tasks if isinstance(task, Listening)]
        if not servers and not self._open:
            return
        from sparts.net import sockets  # not before something listens: it costs time to import

        wanted = [task.address() for task in servers]
        _check_distinct(wanted)
        for address in [address for address in self._open if address not in wanted]:
            self.close(address.owner)
        for task in servers:
            self._open_tls(task)
        for address in wanted:
            if address in self._open:
                continue
            if adopted := self._adopt(address, len(servers)):
                self._adopted.add(address)
            self._open[address] = adopted or sockets.bind(address)

    def _open_tls(self, task: Any) -> None:
        files = task.tls_files()
        if files is None:
            return
        from sparts.net.tls import TLS  # not before it is asked for: it costs time to import

        if task.name not in self._tls:
            self._tls[task.name] = TLS(files)
            return
        try:  # a restart: what can be served goes on
            self._tls[task.name].reload()
        except StartError as error:
            task.service.registerWarning(f"TLS of {task.name} stays as it was: {error}")

    def ssl_context(self, owner: str) -> ssl.SSLContext | None:
        """Return the TLS of one task; None: it has none."""
        return self._tls[owner].context if owner in self._tls else None

    def reloads(self) -> list[tuple[str, Callable[[], None]]]:
        """Return what there is to do at a reload: what it is, and the function, which may raise."""
        return [(f"TLS of {owner}", tls.reload) for owner, tls in self._tls.items()]

    def duplicates(self, address: Address) -> list[socket.socket]:
        """Return duplicates of the sockets that are open for an address."""
        return [sock.dup() for sock in self._open[address]]

    def keep(self, owner: str, connections: list[Any]) -> None:
        """Keep open connections of a task for the next instance of the service.

        Args:
            owner: the name of the task.
            connections: anything with a method ``close``, which is called if there is no next one.
        """
        self._kept.setdefault(owner, []).extend(connections)

    def take_kept(self, owner: str) -> list[Any]:
        """Return the connections that the instance before has kept for a task."""
        return self._kept.pop(owner, [])

    def close(self, owner: str | None = None, take: bool = False) -> list[socket.socket]:
        """Close the sockets of one task, or all; remove the files of our Unix sockets.

        Returns:
            if ``take``, the connections that waited in them, which are reset otherwise. Those in a
            socket that was inherited are neither: whoever passed it on holds it.
        """
        closing = [address for address in self._open if owner in (None, address.owner)]
        for name in [name for name in self._tls if owner in (None, name)]:
            del self._tls[name]
        for name in [name for name in self._kept if owner in (None, name)]:
            for connection in self.take_kept(name):
                connection.close()
        if not closing:
            return []
        from sparts.net import sockets

        taken: list[socket.socket] = []
        for address in closing:
            for sock in self._open.pop(address):
                if address in self._adopted:
                    sock.close()  # and a Unix socket's file stays its holder's
                else:
                    taken += sockets.close(sock, address, take)
        return taken

    def give(self, uid: int) -> None:
        """Make the files of our Unix sockets another user's."""
        for address in [each for each in self._open if each.path and each not in self._adopted]:
            with suppress(FileNotFoundError):
                os.chown(address.path, uid, -1, follow_symlinks=False)

    def _adopt(self, address: Address, servers: int) -> list[socket.socket]:
        """Return the sockets that systemd passed for a task, or none."""
        from sparts.net import sockets

        if self._inherited is None:
            self._inherited = systemd.inherited_sockets()
        for name in (address.owner, address.prefix):
            if name in self._inherited:
                return sockets.adopt(self._inherited.pop(name))
        if not self._inherited:
            return []
        if servers > 1:
            names = ", ".join(sorted(self._inherited))
            raise StartError(
                f"No task is named or prefixed like the inherited socket(s) {names}. Set "
                f"FileDescriptorName={address.prefix} (or another task's prefix) in the socket "
                f"unit."
            )
        passed, self._inherited = self._inherited, {}
        return sockets.adopt([fd for fds in passed.values() for fd in fds])


def format_address(address: Any) -> str:
    """Return an address as ``host:port``, ``[host]:port`` or the path of a Unix socket."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address)


def _check_distinct(addresses: list[Address]) -> None:
    for number, address in enumerate(addresses):
        for other in addresses[:number]:
            if _collide(address, other):
                what = "sock" if address.path else "port"
                raise StartError(
                    f"{other.owner} and {address.owner} are both to listen on {address}. Give one "
                    f"of them another with --{other.prefix}-{what} or --{address.prefix}-{what}."
                )


def _collide(one: Address, other: Address) -> bool:
    """Tell whether two addresses cannot both be bound."""
    if one.path or other.path:
        return one.path == other.path
    if one.port != other.port or not one.port:
        return False
    pairs = [(a, b) for a in one.hosts for b in other.hosts if (":" in a) == (":" in b)]
    return any(a == b or {a, b} & {"0.0.0.0", "::"} for a, b in pairs)  # noqa: S104 - compared
