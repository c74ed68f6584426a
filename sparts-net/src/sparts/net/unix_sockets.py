"""Unix sockets and their files: one process makes a file at a time, and removes only its own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import socket
import stat
from typing import TYPE_CHECKING

from sparts.errors import OptionError, StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.net import Address


class SocketFile:
    """The file of a socket that this process has bound.

    If another file has taken its place since then, that one is left alone. The socket has to be
    open meanwhile: it keeps the number of its file's inode from being used again.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._made = os.lstat(path)

    def give(self, uid: int) -> None:
        """Make it another user's."""
        self._if_ours(lambda: os.chown(self._path, uid, -1, follow_symlinks=False))

    def remove(self) -> None:
        """Remove it, if this process still may."""
        with contextlib.suppress(OSError):
            self._if_ours(lambda: os.unlink(self._path))

    def _if_ours(self, action: Callable[[], None]) -> None:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # no lock can be made, as on a full disk
                stack.enter_context(locked(self._path))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.lstat(self._path), self._made):
                    action()


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold a lock on what is at a path, by a file beside it that goes afterwards.

    Without it, two processes that find the same stale socket would both replace it, and the
    second would remove the socket of the first.

    Raises:
        OSError: there can be no such file.
    """
    name, flags = f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        with open(os.open(name, flags, 0o600), "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                current = os.path.samestat(os.stat(name), os.fstat(lock.fileno()))
            except FileNotFoundError:
                current = False
            if current:  # else its owner of before has removed it
                try:
                    yield
                finally:
                    os.unlink(name)
                return


def bind(address: Address) -> tuple[socket.socket, SocketFile]:
    """Return a new listening socket for the path of an address, and its file.

    Raises:
        OSError: it cannot be made.
        OptionError: there is no such group, or what is at the path is no socket.
        StartError: another process is listening there.
    """
    try:
        group = grp.getgrnam(address.group).gr_gid if address.group else -1
    except KeyError as error:
        raise OptionError(
            f"--{address.prefix}-sock-group: no group is named {address.group!r}."
        ) from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with locked(address.path):
            _remove_stale(address)
            umask = os.umask(0o177)  # nobody else may connect before the group is set
            try:
                sock.bind(address.path)
            finally:
                os.umask(umask)
            if address.group:
                os.chown(address.path, -1, group)
                os.chmod(address.path, 0o660)
            sock.setblocking(False)
            sock.listen(address.backlog)
            return sock, SocketFile(address.path)
    except BaseException:
        sock.close()
        raise


def _remove_stale(address: Address) -> None:
    """Remove a socket file that nobody listens on any more."""
    try:
        mode = os.stat(address.path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OptionError(f"--{address.prefix}-sock: {address.path} exists and is not a socket.")
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
