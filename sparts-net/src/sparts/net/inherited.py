"""The sockets that systemd passes (``LISTEN_FDS``): whose they are, and whether they fit."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

from sparts.errors import StartError

if TYPE_CHECKING:
    from sparts.net import Address


def inherited_sockets() -> dict[str, list[int]]:
    """Return the descriptors that systemd passed (``LISTEN_FDS``), by their names, and forget them.

    Names come from ``LISTEN_FDNAMES``; a socket without one is named ``unknown``, as in
    sd_listen_fds(3). The descriptors are set close-on-exec, and the variables removed, so that
    children do not take them for theirs.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return {}
    found: dict[str, list[int]] = {}
    for index in range(int(count)):
        descriptor = 3 + index
        name = names[index] if index < len(names) and names[index] else "unknown"
        found.setdefault(name, []).append(descriptor)
        try:
            os.set_inheritable(descriptor, False)
        except OSError:  # it is not open: its use will say so, and there are no more
            break
    return found


def take(
    passed: dict[str, list[int]], address: Address, takes: bool, takers: int
) -> list[socket.socket]:
    """Return the sockets of a task, made non-blocking as event loops need them.

    Args:
        passed: descriptors by their names; those of the task are removed.
        address: where the task is to listen.
        takes: whether the task can use them.
        takers: how many tasks can.

    Raises:
        StartError: it is unknown whose they are, the task cannot use them, or one is not a socket
            that listens for connections.
    """
    sockets: list[socket.socket] = []
    for name in _names(passed, address, takes, takers):
        for descriptor in passed.pop(name):
            try:
                sockets.append(_listening(descriptor))
            except OSError as error:
                for sock in sockets:
                    sock.close()
                raise StartError(
                    f"The inherited descriptor {descriptor} (LISTEN_FDS, named {name!r}) cannot "
                    f"be used by {address.owner}: {error.strerror or error}. It must be a stream "
                    f"socket that listens."
                ) from error
    return sockets


def _names(passed: dict[str, list[int]], address: Address, takes: bool, takers: int) -> list[str]:
    for name in (address.owner, address.prefix):
        if name in passed:
            if not takes:
                raise StartError(
                    f"{address.owner} binds for itself, and cannot use the inherited socket "
                    f"{name}. Remove the socket unit."
                )
            return [name]
    if passed and takes and takers > 1:
        names = ", ".join(sorted(passed))
        raise StartError(
            f"No task is named or prefixed like the inherited socket(s) {names}. Set "
            f"FileDescriptorName={address.prefix} (or another task's prefix) in the socket unit."
        )
    return list(passed) if takes else []


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
    except BaseException:
        sock.detach()  # where fewer were passed than promised, it may be a descriptor of our own
        raise
    return sock


def _listens(sock: socket.socket) -> bool:
    try:
        return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError as error:
        return error.errno == errno.ENOPROTOOPT  # macOS does not say
