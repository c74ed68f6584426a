"""The sockets of server tasks: host, port, unix, inherited; what they are bound to.

Listening sockets are the process's. They are opened before tasks are initialised, each instance of
the service gets duplicates of them, and they stay open across a restart, so that no connection
that waits in one is reset.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sparts import systemd
from sparts.errors import StartError
from sparts.option_types import port as port_number
from sparts.options import option

if TYPE_CHECKING:
    import logging
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
    DEFAULT_SOCK: ClassVar[str] = ""
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
        """Return where this task's options say that it listens."""
        hosts = tuple(filter(None, (part.strip() for part in (self.host or "").split(","))))
        prefix = self.option_prefix().replace("_", "-")
        return Address(self.name, prefix, hosts or ("0.0.0.0",), self.port or 0,  # noqa: S104
                       self.sock or "", self.sock_group or "", self.BACKLOG)  # fmt: skip

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
        """Close the duplicates; when the service does not restart, the process's own sockets
        too."""
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
        wanted = [task.address() for task in servers]
        _check_distinct(wanted)
        for address in [address for address in self._open if address not in wanted]:
            self.close(address.owner)
        for address in wanted:
            if address not in self._open:
                self._open[address] = self._adopt(address, len(servers)) or _bind(address)

    def duplicates(self, address: Address) -> list[socket.socket]:
        """Return duplicates of the sockets that are open for an address."""
        return [sock.dup() for sock in self._open[address]]

    def close(self, owner: str | None = None) -> None:
        """Close the sockets of one task, or all; Unix sockets of ours are removed from the file
        system."""
        for address in [a for a in self._open if owner in (None, a.owner)]:
            for sock in self._open.pop(address):
                _close(sock, address)

    def _adopt(self, address: Address, servers: int) -> list[socket.socket]:
        """Return the sockets that systemd passed for a task, or none."""
        if self._inherited is None:
            self._inherited = systemd.inherited_sockets()
        for name in (address.owner, address.prefix):
            if name in self._inherited:
                return [socket.socket(fileno=fd) for fd in self._inherited.pop(name)]
        if not self._inherited:
            return []
        if servers > 1:
            names = ", ".join(sorted(self._inherited))
            raise StartError(
                f"No task is named or prefixed like the inherited socket(s) {names}. Set "
                f"FileDescriptorName={address.prefix} (or another task's prefix) in the socket unit."
            )
        passed, self._inherited = self._inherited, {}
        return [socket.socket(fileno=fd) for fds in passed.values() for fd in fds]


def format_address(address: Any) -> str:
    """Return an address as ``host:port``, ``[host]:port`` or the path of a Unix socket."""
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address)


def _check_distinct(addresses: list[Address]) -> None:
    seen: dict[tuple[str, int], Address] = {}
    for address in addresses:
        keys = (
            [(address.path, 0)]
            if address.path
            else [(host, address.port) for host in address.hosts]
        )
        for key in keys:
            other = seen.setdefault(key, address)
            if other is not address and (address.path or address.port):
                what = "sock" if address.path else "port"
                raise StartError(
                    f"{other.owner} and {address.owner} are both to listen on {address}. Give one "
                    f"of them another with --{other.prefix}-{what} or --{address.prefix}-{what}."
                )


def _bind(address: Address) -> list[socket.socket]:
    if address.path:
        return [_bind_unix(address)]
    for _ in range(10):  # a port that is free on one address may be taken on the next
        opened: list[socket.socket] = []
        try:
            for family, sockaddr in _resolve(address):
                port = opened[0].getsockname()[1] if opened and not address.port else sockaddr[1]
                opened.append(
                    _bind_tcp(family, (sockaddr[0], port, *sockaddr[2:]), address.backlog)
                )
        except OSError as error:
            _close_all(opened)
            if opened and not address.port and error.errno == errno.EADDRINUSE:
                continue
            raise StartError(_explain(address, error)) from error
        return opened
    raise StartError(f"--{address.prefix}-port: no port is free on all of {address}.")


def _resolve(address: Address) -> list[tuple[int, Any]]:
    found: dict[tuple[int, Any], None] = {}
    for host in address.hosts:
        flags = socket.AI_PASSIVE
        try:
            infos = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
        except (socket.gaierror, UnicodeError) as error:
            raise StartError(
                f"--{address.prefix}-host: {host!r} is not an address of this host: {error}."
            ) from error
        found.update({(info[0], info[4]): None for info in infos})
    return list(found)


def _bind_tcp(family: int, sockaddr: Any, backlog: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)
        sock.bind(sockaddr)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(address: Address) -> socket.socket:
    path, sock = address.path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        group = grp.getgrnam(address.group).gr_gid if address.group else -1
        _remove_stale(address)
        umask = os.umask(0o177)  # nobody else may connect before the group is set
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        if address.group:
            os.chown(path, -1, group)
            os.chmod(path, 0o660)
        sock.setblocking(False)
        sock.listen(address.backlog)
    except KeyError as error:
        sock.close()
        raise StartError(
            f"--{address.prefix}-sock-group: no group is named {address.group!r}."
        ) from error
    except OSError as error:
        sock.close()
        raise StartError(_explain(address, error)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(address: Address) -> None:
    """Remove a socket file that nobody listens on any more."""
    try:
        mode = os.stat(address.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartError(f"--{address.prefix}-sock: {address.path} exists and is not a socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address.path)
        except ConnectionRefusedError:
            os.unlink(address.path)
            return
        except OSError as error:
            if error.errno != errno.EAGAIN:  # EAGAIN: somebody listens, and many wait
                raise
    raise StartError(
        f"--{address.prefix}-sock: another process is listening on {address.path}. Stop it, or "
        f"choose another path."
    )


def _explain(address: Address, error: OSError) -> str:
    what = f"--{address.prefix}-sock" if address.path else f"--{address.prefix}-port"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{what}: {address} is in use by another process. Stop it, or choose another."
        case errno.EACCES | errno.EPERM:
            low = " Ports below 1024 need root or CAP_NET_BIND_SERVICE." if not address.path else ""
            return f"{what}: no permission to listen on {address}.{low}"
        case errno.EADDRNOTAVAIL:
            return f"--{address.prefix}-host: {address} is not an address of this host."
    return f"{what}: cannot listen on {address}: {error.strerror or error}."


def _close(sock: socket.socket, address: Address) -> None:
    try:
        if address.path and sock.getsockname() == address.path:
            os.unlink(address.path)
    except OSError:
        pass  # somebody removed it before us
    sock.close()


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
