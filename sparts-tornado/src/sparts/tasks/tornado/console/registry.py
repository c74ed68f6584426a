"""Where services announce themselves: a folder with a file and a control socket for each.

The folder is ``$SPARTS_RUNTIME_DIR``, else ``/run/sparts`` for root, else ``sparts`` in
``$XDG_RUNTIME_DIR``. A file whose control socket nobody listens on is of a service that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 100
"""How many bytes the path of a socket may have; the system's limit is 107."""
HOW = (
    'A service announces itself if it has a StatusHTTPTask: add "StatusHTTPTask" to its TASKS. '
    "Each user sees the services of that user alone."
)
"""What is said to somebody who finds none."""


class Announced(NamedTuple):
    """A service that runs on this machine."""

    name: str
    pid: int
    url: str
    socket: str
    version: str
    started: float

    def described(self) -> dict[str, Any]:
        """Return it as JSON can carry it."""
        return self._asdict()


def folder() -> Path | None:
    """Return the folder of this user; None: the environment names none."""
    own = os.environ.get("SPARTS_RUNTIME_DIR")
    if own:
        return Path(own)
    if os.geteuid() == 0:
        return Path("/run/sparts")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "sparts" if runtime else None


def find() -> list[Announced]:
    """Return the services that are announced and answer, by name and process.

    What services left behind that were killed is removed.
    """
    found = [each for path in _files() if (each := _read(path)) is not None]
    return sorted(found, key=lambda each: (each.name, each.pid))


def _files() -> Iterator[Path]:
    where = folder()
    with contextlib.suppress(OSError):
        if where is not None and _is_ours(where):
            yield from sorted(where.glob("*.json"))


def _is_ours(path: Path) -> bool:
    """Whether only this user, or root, can have put it there."""
    found = path.stat()
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & stat.S_IWOTH


def _read(path: Path) -> Announced | None:
    try:
        told = json.loads(path.read_text())
        found = Announced(**{name: told[name] for name in Announced._fields})
    except (OSError, ValueError, KeyError, TypeError):
        return None  # it is being written, or is no announcement
    if answers(found.socket):
        return found
    for each in (path, Path(found.socket)):
        if each.parent == path.parent:
            with contextlib.suppress(OSError):
                each.unlink()
    return None


def answers(path: str) -> bool:
    """Return whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # many wait: somebody is there
            return True
    return True


def _free(where: Path) -> str:
    """Return a name for a file of this process that none has yet."""
    for number in range(1, 1000):
        stem = f"{os.getpid()}-{number}" if number > 1 else str(os.getpid())
        path = where / f"{stem}.json"
        if not path.exists() or (_read(path) is None and not path.exists()):
            return stem
    raise OSError(f"There are too many announcements in {where}.")


class Announcement:
    """The file and the control socket of one service.

    Raises:
        OSError: the folder cannot be used, or the path of the socket is too long.
    """

    def __init__(self, where: Path, told: dict[str, Any]) -> None:
        where.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours(where):
            raise PermissionError(f"{where} is another user's, or others may write to it.")
        stem = _free(where)
        self._file = where / f"{stem}.json"
        self.path: Path = where / f"{stem}.sock"
        if len(os.fsencode(self.path)) > LONGEST:
            raise OSError(f"The path {self.path} is too long for a Unix socket.")
        self.socket: socket.socket = self._bind(where, stem)
        try:
            self._write({**told, "pid": os.getpid(), "socket": str(self.path)})
        except BaseException:
            self.close()
            raise

    def _bind(self, where: Path, stem: str) -> socket.socket:
        """Bind in a folder that nobody else can enter, then move: at no time can others connect."""
        private = where / f".{stem}"
        private.mkdir(mode=0o700, exist_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            hidden = private / "s"
            self.bound: str = str(hidden)
            hidden.unlink(missing_ok=True)
            sock.bind(str(hidden))
            hidden.chmod(0o600)
            sock.setblocking(False)
            sock.listen(16)
            hidden.rename(self.path)
        except BaseException:
            sock.close()
            raise
        finally:
            with contextlib.suppress(OSError):
                private.rmdir()
        return sock

    def _write(self, told: dict[str, Any]) -> None:
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(told))
        new.chmod(0o600)
        new.rename(self._file)

    def close(self) -> None:
        """Close the socket and remove both; may be called twice."""
        self.socket.close()
        for path in (self._file, self.path):
            with contextlib.suppress(OSError):
                path.unlink()


class Inherited:
    """The control socket of a service that runs as several copies: their parent announces it.

    Args:
        sock: a duplicate of it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.bound: str = str(sock.getsockname())

    def close(self) -> None:
        """Close the socket of this copy; may be called twice."""
        self.socket.close()
