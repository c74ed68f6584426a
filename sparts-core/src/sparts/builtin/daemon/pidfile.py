"""Pid files: which process is this service, held by a lock that ends with the process.

The lock is a record lock of fcntl(2), of which the kernel knows who holds it (``F_GETLK``). So what
the file says is believed of nobody: a stale file, a recycled pid or one that somebody wrote there
never names a process. The file has the pid, for ``kill $(cat FILE)`` and other programs, and an
empty line, which says that it is ours. How many bytes are locked says of which service. On macOS
and other systems the kernel is asked only whether somebody holds the lock; the pid is the file's.

A process loses such a lock when it closes any descriptor of the file: nothing else in it may open
its pid file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import struct
import threading
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from sparts.errors import OptionError, PidFileError, is_of_path
from sparts.inbox import await_ready
from sparts.option_types import Expected, expand_home

_HAS_PIDFD = hasattr(os, "pidfd_open")
_FLOCK = "hhqqi4x"  # struct flock of fcntl(2) on Linux: l_type, l_whence, l_start, l_len, l_pid
_OURS = re.compile(rb"\d+\n(sparts [^\n]*)?\n")  # with a name: as before the locks said it


class Holder(NamedTuple):
    """The process that holds a pid file."""

    pid: int
    since: float
    """When it took the file, in seconds since the epoch."""
    descriptor: int
    """A pidfd, which never means another process; on other systems, the file."""

    def terminate(self) -> None:
        """Send SIGTERM, if it lives. PermissionError: it belongs to another user."""
        with suppress(ProcessLookupError):
            if _HAS_PIDFD:
                signal.pidfd_send_signal(self.descriptor, signal.SIGTERM)
            else:
                os.kill(self.pid, signal.SIGTERM)

    def wait(self, seconds: float) -> bool:
        """Wait for its end (on other systems, until it gives up the file); False: not in time."""
        if not _HAS_PIDFD:
            waiter = threading.Thread(
                target=fcntl.lockf, args=(self.descriptor, fcntl.LOCK_SH), daemon=True
            )
            waiter.start()
            waiter.join(seconds)
            return not waiter.is_alive()
        return bool(await_ready([self.descriptor], seconds))

    def close(self) -> None:
        """Let go of the process."""
        os.close(self.descriptor)


def default_path(name: str) -> str:
    """Return where the pid file of a service is by default.

    Root's is in ``/var/run``, that of others in ``$XDG_RUNTIME_DIR``, or ``/run/user/UID``, or
    failing both in ``$XDG_STATE_HOME`` (``~/.local/state``), which is made. Variables with relative
    paths do not count.

    Raises:
        OptionError: there is none, as nothing says where the home directory is.
    """
    file = f"{name.replace('/', '_')}.pid"
    if os.geteuid() == 0:
        return f"/var/run/{file}"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    for folder in (runtime, f"/run/user/{os.geteuid()}"):
        if os.path.isabs(folder) and os.path.isdir(folder):
            return os.path.join(folder, file)
    try:
        folder = os.environ.get("XDG_STATE_HOME", "")
        folder = folder if os.path.isabs(folder) else expand_home("~/.local/state")
    except Expected:
        raise OptionError(
            "--pidfile: no folder for pid files is known, as neither XDG_RUNTIME_DIR nor HOME is "
            "set and this user has no home directory. Give --pidfile FILE."
        ) from None
    with suppress(OSError):  # opening the file will say what is wrong with it
        os.makedirs(folder, mode=0o700, exist_ok=True)
    return os.path.join(folder, file)


class PidFile:
    """The pid file of this process, from `acquire` to `release`.

    Args:
        path: where it is; absolute.
        name: the name of the service.
    """

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the file for as long as this process lives, or until `release`.

        Raises:
            OptionError: it is not ours, or nothing can be written there.
            PidFileError: a running process has it, or it cannot be written now.
        """
        while self._descriptor < 0:
            descriptor = _open(self.path, os.O_RDWR | os.O_CREAT)
            try:
                if self._take(descriptor):
                    self._descriptor, descriptor = descriptor, -1
            finally:
                if descriptor >= 0:
                    os.close(descriptor)

    def _take(self, descriptor: int) -> bool:
        """Lock the open file and write to it; False if its owner has just ended or removed it."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise OptionError(f"--pidfile: {self.path} is no plain file. Choose another.")
        if found.st_uid not in (0, os.geteuid()):
            raise OptionError(
                f"--pidfile: {self.path} belongs to another user ({found.st_uid}), who could put "
                f"anything there. Remove it, or choose another."
            )
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _length(self.name))
        except (BlockingIOError, PermissionError):
            if (pid := _locked_by(descriptor)) is None:
                return False  # it has just ended
            who = self.name if _is_of(descriptor, self.name) else "Another service"
            raise PidFileError(f"{who} is running already: pid {pid}, {self.path}") from None
        try:
            if not os.path.samestat(os.lstat(self.path), found):
                return False
        except FileNotFoundError:
            return False
        if found.st_size and not _is_stale(descriptor):
            raise OptionError(
                f"--pidfile: {self.path} is not one of ours; another program's, perhaps. Remove it "
                f"if nobody needs it, or choose another."
            )
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n\n" % os.getpid(), 0)
        except OSError as error:
            with suppress(OSError):
                os.unlink(self.path)
            raise PidFileError(f"--pidfile: cannot write {self.path}: {error.strerror}.") from error
        return True

    def release(self) -> None:
        """Remove the file if it is still ours (or empty it, where it may not be removed)."""
        if self._descriptor < 0:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            if os.path.samestat(os.lstat(self.path), os.fstat(descriptor)):
                os.unlink(self.path)
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
        os.close(descriptor)


def find_holder(path: str, name: str) -> Holder | None:
    """Return the process that holds a service's pid file, or None. Close it.

    Raises:
        OptionError: the file may not be read.
        PidFileError: another service holds it, or its holder lives where it cannot be seen.
    """
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        while (pid := _locked_by(descriptor)) is not None:
            if not _is_of(descriptor, name) and _locked_by(descriptor) == pid:
                whose = f"of another service or program (pid {pid})"
                raise PidFileError(f"{path} is the pid file {whose}, not of {name}.")
            with suppress(ProcessLookupError):
                opened = os.pidfd_open(pid) if _HAS_PIDFD else os.dup(descriptor)
                if _locked_by(descriptor) == pid:  # so it was alive when it was opened
                    return Holder(pid, os.fstat(descriptor).st_mtime, opened)
                os.close(opened)
    finally:
        os.close(descriptor)
    return None


def _open(path: str, flags: int) -> int:
    """Open a pid file, but no symbolic link and nothing that makes us wait."""
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno == errno.ENOENT and not flags & os.O_CREAT:
            raise
        why = {errno.ELOOP: "it is a symbolic link", errno.ENOENT: "its folder does not exist"}
        reason = why.get(error.errno or 0, error.strerror)
        kind = OptionError if is_of_path(error) else PidFileError
        raise kind(f"--pidfile: cannot use {path}: {reason}. Choose another.") from error


def _length(name: str) -> int:
    """Return how many bytes of its file a service of a name locks."""
    return 1 + crc32(name.encode(errors="surrogateescape"))


def _is_of(descriptor: int, name: str) -> bool:
    """Return whether a file is locked as a service of a name does it."""
    end = _length(name)
    return _locked_by(descriptor, end - 1) is not None and _locked_by(descriptor, end) is None


def _locked_by(descriptor: int, byte: int = 0) -> int | None:
    """Return the pid of the process that has locked a byte of a file, or None.

    Raises:
        PidFileError: it is in another pid namespace (another container).
    """
    if not _HAS_PIDFD:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError):
            first = os.pread(descriptor, 20, 0).split(b"\n")[0]
            return int(first) if first.isdigit() else 0  # 0: not a file of ours
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)
        return None
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    if kind == fcntl.F_UNLCK:
        return None
    if pid <= 0:
        raise PidFileError("It runs where its pid means nothing here: in another container.")
    return int(pid)


def _is_stale(descriptor: int) -> bool:
    """Whether a file that nobody has locked is ours, or has only the pid of a process that has
    ended, as sparts 0.7 wrote it.
    """
    text = os.pread(descriptor, 4096, 0)
    if _OURS.fullmatch(text):
        return True
    text = text.strip()
    if not text.isdigit() or not 0 < int(text) < 2**31:
        return False
    try:
        os.kill(int(text), 0)
    except OSError as error:
        return isinstance(error, ProcessLookupError)
    return int(text) == os.getpid()  # after a reboot or in a new container, it may be our own
