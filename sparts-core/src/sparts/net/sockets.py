"""Opens and closes the sockets of listeners.py; imported where a task listens, and only there."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
import struct
from array import array
from typing import TYPE_CHECKING, Any

from sparts.errors import StartError

if TYPE_CHECKING:
    from sparts.net.listeners import Address


def adopt(descriptors: list[int]) -> list[socket.socket]:
    """Return the sockets of inherited descriptors, made non-blocking as event loops need them."""
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in sockets:
        sock.setblocking(False)
    return sockets


def bind(address: Address) -> list[socket.socket]:
    """Return new listening sockets for an address, one for each address that its hosts have.

    Raises:
        StartError: it cannot be used; the message names the option and the reason.
    """
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


def close(sock: socket.socket, address: Address, take: bool) -> list[socket.socket]:
    """Close a socket, and return the connections that waited in it if ``take``.

    A Unix socket of ours is removed from the file system too.
    """
    try:
        if address.path and sock.getsockname() == address.path:
            os.unlink(address.path)
    except OSError:
        pass  # somebody removed it before us
    with sock:
        return _accept_waiting(sock) if take else []


def _accept_waiting(sock: socket.socket) -> list[socket.socket]:
    found: list[socket.socket] = []
    _let_nobody_in(sock)
    while True:
        try:
            connection, _ = sock.accept()
        except ConnectionAbortedError:  # a client that has given up
            continue
        except OSError:  # none is left (or no descriptor is)
            return found
        connection.setblocking(False)
        found.append(connection)


def _let_nobody_in(sock: socket.socket) -> None:
    """Have the kernel drop what comes for a listening TCP socket from now on.

    So nobody connects between the last accept and the close, to be reset. Whoever tries is refused
    when his system tries again. Source: socket(7), ``SO_ATTACH_FILTER``; the filter returns 0
    bytes of every packet.
    """
    if sock.family != socket.AF_UNIX:
        program = array("Q", [0x06])  # BPF_RET | BPF_K, 0
        with contextlib.suppress(OSError):
            where = struct.pack("HP", 1, program.buffer_info()[0])
            sock.setsockopt(socket.SOL_SOCKET, 26, where)


def _close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()
