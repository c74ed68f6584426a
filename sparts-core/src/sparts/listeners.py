"""The sockets of server tasks: host, port, unix, inherited; what they are bound to.

Listening sockets are the process's. They are opened before tasks are initialised, each instance of
the service gets duplicates of them, and they stay open across a restart, so that no connection
that waits in one is reset.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sparts import systemd
from sparts.errors import OptionError, StartError
from sparts.option_types import port as port_number
from sparts.options import option, source_of

if TYPE_CHECKING:
    import logging
    import socket
    from collections.abc import Iterable

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


class Listening:
    """A mixin for server tasks: the options of their sockets, and the sockets.

    The service opens them before any task is initialised. A server takes its own with
    `take_sockets`, and gives them up with `close_sockets` when it stops.
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

    def address(self) -> Address:
        """Return where this task's options say that it listens.

        Raises:
            OptionError: both a port and a Unix socket were given, and not by a default.
        """
        sock, port, group, backlog = self.sock or "", self.port or 0, self.sock_group, self.BACKLOG
        prefix = self.option_prefix()
        flag = prefix.replace("_", "-")
        of_port = source_of(self.service.options, f"{prefix}_port")
        if sock and of_port.explicit:
            if source_of(self.service.options, f"{prefix}_sock").explicit:
                raise OptionError(
                    f"--{flag}-sock and --{flag}-port exclude each other (the port comes from: "
                    f"{of_port}). Leave one of them out."
                )
            sock = ""
        hosts = tuple(filter(None, map(str.strip, (self.host or "").split(","))))
        every = ("0.0.0.0",)  # noqa: S104 - a server is there to be reached
        return Address(self.name, flag, hosts or every, port, sock, group or "", backlog)

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

    def close_sockets(self) -> None:
        """Close the duplicates and, unless the service restarts, the process's own sockets."""
        for sock in getattr(self, "_sockets", ()):
            sock.close()
        self._sockets = []
        if not self.service.restarting:
            self.service.listeners.close(self.name)


class Listeners:
    """All listening sockets of a process, handed from one instance of its service to the next."""

    def __init__(self) -> None:
        self._open: dict[Address, list[socket.socket]] = {}
        self._inherited: dict[str, list[int]] | None = None

    def open(self, tasks: Iterable[Any]) -> None:
        """Open what the server tasks among these ask for; keep what is open already, close the
        rest.

        Raises:
            StartError: an address cannot be used; the message names the option and the reason.
        """
        servers = [task for task in tasks if isinstance(task, Listening)]
        if not servers and not self._open:
            return
        from sparts import sockets  # not before something listens: it costs time to import

        wanted = [task.address() for task in servers]
        _check_distinct(wanted)
        for address in [address for address in self._open if address not in wanted]:
            self.close(address.owner)
        for address in wanted:
            if address not in self._open:
                self._open[address] = self._adopt(address, len(servers)) or sockets.bind(address)

    def duplicates(self, address: Address) -> list[socket.socket]:
        """Return duplicates of the sockets that are open for an address."""
        return [sock.dup() for sock in self._open[address]]

    def close(self, owner: str | None = None) -> None:
        """Close the sockets of one task, or all; remove the files of our Unix sockets."""
        closing = [address for address in self._open if owner in (None, address.owner)]
        if not closing:
            return
        from sparts import sockets

        for address in closing:
            for sock in self._open.pop(address):
                sockets.close(sock, address)

    def _adopt(self, address: Address, servers: int) -> list[socket.socket]:
        """Return the sockets that systemd passed for a task, or none."""
        from sparts import sockets

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
    return any(a == b or {a, b} & {"0.0.0.0", "::"} for a, b in pairs)  # noqa: S104
