"""The sockets of server tasks: opened before the tasks are initialised, kept across restarts.

Listening sockets are the process's. Each instance of the service gets duplicates of them, and they
stay open across a restart, so that no connection that waits in one is reset.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any

from sparts.errors import OptionError, StartError, UsageError, is_of_path, message_of
from sparts.net import collision, format_address
from sparts.shown import ours, service_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

    from sparts.net import Address
    from sparts.net.tls import TLS
    from sparts.net.unix_sockets import SocketFile

#: What the system says of an address that it does not have, or of a family.
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Listeners:
    """All listening sockets of a process and their TLS, handed from one instance of its service to
    the next.
    """

    def __init__(self) -> None:
        self._open: dict[str, Opened] = {}  # by the name of the task
        self._tls: dict[str, TLS] = {}
        self._passed: dict[str, list[int]] | None = None
        self._kept: dict[str, list[Any]] = {}

    def open(self, tasks: Iterable[Any], /) -> None:
        """Open what the server tasks among these need, and set their ``bound_addrs``.

        What is open already stays, and what none of them needs is closed.

        Raises:
            StartError: an address or a file cannot be used; the message names the option and the
                reason.
            UsageError: the options of a task contradict each other.
        """
        servers = [task for task in tasks if hasattr(type(task), "_opened_by")]
        wanted = {ours(task).name: task.address() for task in servers}
        _check_distinct(list(wanted.values()))
        for owner in [each for each in self._open if self._open[each].address != wanted.get(each)]:
            self.close(owner)
        takers = sum(not task._binds_itself for task in servers)
        for task in servers:
            self._open_tls(task)
            if ours(task).name not in self._open and (opened := self._bind(task, takers)):
                self._open[ours(task).name] = opened
            opened = self._open.get(ours(task).name)
            task.bound_addrs = opened.addresses() if opened else []

    def _bind(self, task: Any, takers: int) -> Opened | None:
        """Return the sockets of a task, new or inherited; None: it binds for itself."""
        address: Address = task.address()
        passed = self._take_passed(address, not task._binds_itself, takers)
        if not task._binds_itself:
            opened = Opened(address, passed, inherited=True) if passed else bind(address)
        elif not task.RESERVE:
            return None
        elif task.service.getOption("user") or task.service.getOption("group"):
            raise UsageError(
                f"{ours(task).name} binds its port again at each start, which another user cannot: "
                f"run it without --user and --group, or have the init system choose the user."
            )
        else:
            opened = bind(address, reserve=True)
        if task.host:  # without one, a system that has one family only is nothing to warn of
            for missing in opened.missing:
                ours(task).logger.warning("%s does not listen on %s", ours(task).name, missing)
        return opened

    def _open_tls(self, task: Any) -> None:
        files = task.tls_files()
        if files is None:
            return
        from sparts.net.tls import TLS  # not before it is asked for: it costs time to import

        if ours(task).name not in self._tls:
            self._tls[ours(task).name] = TLS(files, task.prepare_tls)
            return
        try:  # a restart: what can be served goes on
            self._tls[ours(task).name].reload(task.prepare_tls)
        except Exception as error:
            service_of(task).registerWarning(
                f"TLS of {ours(task).name} stays as it was: {message_of(error)}"
            )

    def ssl_context(self, owner: str) -> ssl.SSLContext | None:
        """Return the TLS of one task; None: it has none."""
        return self._tls[owner].context if owner in self._tls else None

    def reloads(self) -> list[tuple[str, Callable[[], None]]]:
        """Return what there is to do at a reload: what it is, and the function, which may raise."""
        return [(f"TLS of {owner}", tls.reload) for owner, tls in self._tls.items()]

    def duplicates(self, owner: str) -> list[socket.socket]:
        """Return duplicates of the sockets that are open for a task."""
        return [sock.dup() for sock in self._open[owner].sockets]

    def descriptors(self) -> list[tuple[str, int]]:
        """Return all listening sockets by the names of their tasks, for other processes."""
        opened = self._open.items()
        return [(name, sock.fileno()) for name, each in opened for sock in each.sockets]

    def hand_over(self) -> list[tuple[str, int]]:
        """Return all listening sockets, which another process holds, too, from now on."""
        for opened in self._open.values():
            opened.hand_over()
        return self.descriptors()

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
            socket that was inherited are neither: the process that passed it on holds it.
        """
        for name in [name for name in self._tls if owner in (None, name)]:
            del self._tls[name]
        for name in [name for name in self._kept if owner in (None, name)]:
            for connection in self.take_kept(name):
                connection.close()
        taken: list[socket.socket] = []
        for name in [name for name in self._open if owner in (None, name)]:
            taken += self._open.pop(name).close(take)
        return taken

    def give(self, uid: int) -> None:
        """Make the files of our Unix sockets another user's."""
        for opened in self._open.values():
            opened.give(uid)

    def _take_passed(self, address: Address, takes: bool, takers: int) -> list[socket.socket]:
        """Return the sockets that systemd passed for a task.

        Raises:
            StartError: it is unknown whose they are, or the task cannot use them.
        """
        if self._passed is None and "LISTEN_FDS" not in os.environ:
            self._passed = {}
        if self._passed == {}:
            return []
        from sparts.net import inherited  # few need it

        if self._passed is None:
            self._passed = inherited.inherited_sockets()
        taken = inherited.take(self._passed, address, takes, takers)
        for sock in taken:
            send_at_once(sock)
        return taken


def _check_distinct(addresses: list[Address]) -> None:
    for number, address in enumerate(addresses):
        for other in addresses[:number]:
            if collision(address, other):
                what = "sock" if address.path else "port"
                raise StartError(
                    f"{other.owner} and {address.owner} are both to listen on {address}. Give one "
                    f"of them another with --{other.prefix}-{what} or --{address.prefix}-{what}."
                )


class Opened:
    """The sockets that are open for the address of a task.

    Args:
        address: what they were opened for.
        sockets: non-blocking; listening unless they only reserve a port.
        file: the file of a Unix socket that this process has bound.
        inherited: whether somebody else holds the sockets, too.
        missing: addresses that were asked for and that this system does not have, with the reason.
    """

    def __init__(
        self,
        address: Address,
        sockets: list[socket.socket],
        file: SocketFile | None = None,
        inherited: bool = False,
        missing: Sequence[str] = (),
    ) -> None:
        self.address: Address = address
        self.sockets: list[socket.socket] = sockets
        self.missing: Sequence[str] = missing
        self._file, self._inherited = file, inherited

    def addresses(self) -> list[Any]:
        """Return what they are bound to, as `socket.getsockname` gives it."""
        return [sock.getsockname() for sock in self.sockets]

    def give(self, uid: int) -> None:
        """Make the file of our Unix socket another user's."""
        if self._file is not None:
            self._file.give(uid)

    def hand_over(self) -> None:
        """Leave what waits in them, and their file, to another process, which holds them, too."""
        self._inherited, self._file = True, None

    def close(self, take: bool) -> list[socket.socket]:
        """Close them, and remove the file of our Unix socket.

        Returns:
            if ``take``, the connections that waited in them. Those in an inherited socket stay.
        """
        if self._file is not None:
            self._file.remove()
        taken: list[socket.socket] = []
        for sock in self.sockets:
            with sock:
                taken += _accept_waiting(sock) if take and not self._inherited else ()
        return taken


def bind(address: Address, reserve: bool = False) -> Opened:
    """Return new sockets for an address, one for each address that its hosts have.

    Args:
        address: where.
        reserve: only keep the port from others, and do not listen; of a Unix socket, see that
            nobody listens on it.

    Raises:
        OptionError: it may not be used, or its folder is missing; the message names the option.
        StartError: it cannot be used now; the message names the option and the reason.
    """
    try:
        if address.path:
            from sparts.net import unix_sockets

            sock, file = unix_sockets.bind(address)
            made = Opened(address, [sock], file)
            if reserve:
                made.close(take=False)
            return Opened(address, []) if reserve else made
        places = _resolve(address)
        for _ in range(10):  # a port that is free on one address may be taken on the next
            opened = _bind_all(address, places, reserve)
            if opened is not None:
                return opened
    except OSError as error:
        wrong = is_of_path(error)  # a port may be forbidden
        raise (OptionError if wrong else StartError)(_explain(address, error)) from error
    raise StartError(f"--{address.prefix}-port: no port is free on all of {address}.")


def _resolve(address: Address) -> list[tuple[str, int, Any]]:
    """Return host, family and socket address of all that the hosts of an address mean."""
    found: dict[tuple[int, Any], str] = {}
    for host in address.hosts:
        flags = socket.AI_PASSIVE
        try:
            infos = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=flags)
        except (socket.gaierror, UnicodeError) as error:
            raise StartError(
                f"--{address.prefix}-host: {host!r} is not an address of this host: {error}."
            ) from error
        for family, _, _, _, place in infos:
            ip = str(place[0])
            if ip.startswith("::ffff:") and "." in ip:  # IPv4, as IPv6 writes it
                found.setdefault((socket.AF_INET, (ip[7:], place[1])), host)
            else:
                found.setdefault((family, place), host)
    return [(host, *place) for place, host in found.items()]


def _bind_all(address: Address, places: list[tuple[str, int, Any]], reserve: bool) -> Opened | None:
    """Bind what can be bound; None: the port that the system chose is taken on another address.

    Raises:
        OSError: an address cannot be used, or this system has none of those of a host.
    """
    sockets: list[socket.socket] = []
    absent: list[tuple[str, str, OSError]] = []
    served = set(address.lenient)
    try:
        for host, family, sockaddr in places:
            port = sockets[0].getsockname()[1] if sockets else address.port
            where = (sockaddr[0], port, *sockaddr[2:])
            try:
                sockets.append(_bind_tcp(family, where, address.backlog, reserve))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                text = f"{format_address(where)}: {error.strerror}"
                absent.append((host, text, error))
            else:
                served.add(host)
        for host, _, reason in absent:
            if host not in served or not sockets:
                raise reason
    except OSError as error:
        _close_all(sockets)
        if sockets and not address.port and error.errno == errno.EADDRINUSE:
            return None
        raise
    return Opened(address, sockets, missing=[text for _, text, _ in absent])


def _bind_tcp(family: int, sockaddr: Any, backlog: int, reserve: bool) -> socket.socket:
    sock = _new_tcp(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(sockaddr)
        if reserve:  # others may share what is reserved, so first it was bound for nobody else
            sockaddr = (sockaddr[0], sock.getsockname()[1], *sockaddr[2:])
            sock.close()
            sock = _new_tcp(family)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(sockaddr)
        else:
            sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _new_tcp(family: int) -> socket.socket:
    # With its protocol, which asyncio looks at to know that a connection is TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    send_at_once(sock)
    return sock


def send_at_once(sock: socket.socket) -> None:
    """Have the connections of a listening socket send without delay: they inherit it (tcp(7))."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _explain(address: Address, error: OSError) -> str:
    what = f"--{address.prefix}-sock" if address.path else f"--{address.prefix}-port"
    match error.errno:
        case errno.EADDRINUSE:
            return f"{what}: {address} is in use by another process. Stop it, or choose another."
        case errno.EACCES | errno.EPERM:
            low = " Ports below 1024 need root or CAP_NET_BIND_SERVICE." if not address.path else ""
            return f"{what}: no permission to listen on {address}.{low}"
        case errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return f"--{address.prefix}-host: {address} is not an address of this host."
    return f"{what}: cannot listen on {address}: {error.strerror or error}."


def _accept_waiting(sock: socket.socket) -> list[socket.socket]:
    found: list[socket.socket] = []
    while True:
        try:
            connection, _ = sock.accept()
        except ConnectionAbortedError:  # a client that has given up
            continue
        except OSError:  # none is left (or no descriptor is)
            return found
        connection.setblocking(False)
        found.append(connection)


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
