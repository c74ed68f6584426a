"""Opens and closes the sockets of listeners.py; imported where a task listens, and only there."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from sparts.errors import OptionError, StartError, is_of_path
from sparts.net.options import format_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.net.options import Address
    from sparts.net.unix_sockets import SocketFile

#: What the system says of an address that it does not have, or of a family.
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


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


def adopt(address: Address, inherited: dict[str, list[int]]) -> Opened:
    """Return the sockets of inherited descriptors, made non-blocking as event loops need them.

    Raises:
        StartError: a descriptor is not a socket that listens for connections; the message names it.
    """
    sockets: list[socket.socket] = []
    for name, descriptors in inherited.items():
        for descriptor in descriptors:
            try:
                sockets.append(_listening(descriptor))
            except OSError as error:
                _close_all(sockets)
                raise StartError(
                    f"The inherited descriptor {descriptor} (LISTEN_FDS, named {name!r}) cannot "
                    f"be used by {address.owner}: {error.strerror or error}. It must be a stream "
                    f"socket that listens."
                ) from error
    return Opened(address, sockets, inherited=True)


def _listening(descriptor: int) -> socket.socket:
    """Return the socket of a descriptor; OSError: it is not one that listens for connections."""
    sock = socket.socket(fileno=descriptor)
    try:
        if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
            raise OSError(f"its address family is {sock.family}")
        if sock.type != socket.SOCK_STREAM:
            raise OSError(f"it is a socket of the type {sock.type}")
        if not _listens(sock):
            raise OSError("it does not listen")
        sock.setblocking(False)
        send_at_once(sock)
    except BaseException:
        sock.detach()  # where fewer were passed than promised, it may be a descriptor of our own
        raise
    return sock


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT  # macOS does not say


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
        for info in infos:
            found.setdefault((info[0], info[4]), host)
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
