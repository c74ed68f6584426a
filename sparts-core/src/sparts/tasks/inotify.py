"""What the kernel says of a directory, of its files, and of what symbolic links lead to."""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import stat as stats
import struct
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x2, 0x4, 0x8
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
_DELETE_SELF, _MOVE_SELF, _UNMOUNT, _OVERFLOW, _IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
_DONT_FOLLOW, _ADD, _IS_DIR = 0x02000000, 0x20000000, 0x40000000

_ITSELF = _MOVE_SELF | _DELETE_SELF | _ATTRIB | _UNMOUNT
_CONTENTS = _ITSELF | _MODIFY | _CLOSE_WRITE
_NAMES = _CREATE | _DELETE | _MOVED_FROM | _MOVED_TO
_HEADER = struct.Struct("iIII")
_PAIR_TIME = 10  # milliseconds that the second half of a move may take
_LINKS = 40  # as many as the kernel follows
_TRIES = 10


class Touched(NamedTuple):
    """Something happened to a file; ``gone``: believe it if there is no such file now."""

    name: str
    gone: bool


class Moved(NamedTuple):
    """A file of the directory has a new name in it."""

    old: str
    new: str


Event = Touched | Moved | None
"""What happened to one file, or None: look at the whole directory."""


class Step(NamedTuple):
    """One of the things that decide where a path leads, or what is there."""

    path: str
    name: str | None
    """Whose events in the directory ``path`` matter; "": those of ``path`` itself; None: all."""
    mask: int
    """Which events matter."""
    identity: tuple[int, int] | None = None
    """Device and inode of ``path``."""


def steps_to(start: str, path: str) -> list[Step]:
    """Return what decides where ``path`` leads from the directory ``start``, link by link."""
    steps: list[Step] = []
    rest, at, links = path.split(os.sep)[::-1], start, 0
    while rest:
        part = rest.pop()
        if part in ("", os.curdir):
            continue
        if part == os.pardir:
            at = os.path.dirname(at)
            continue
        place = os.path.join(at, part)
        try:
            info = os.lstat(place)
            target = os.readlink(place) if stats.S_ISLNK(info.st_mode) else None
        except OSError:
            return [*steps, Step(at, part, _CREATE | _MOVED_TO)]
        folder = stats.S_ISDIR(info.st_mode)
        mask = _ITSELF if folder or target is not None else _CONTENTS
        steps.append(Step(place, "", mask, (info.st_dev, info.st_ino)))
        if target is not None:
            links += 1
            if links > _LINKS:
                return steps
            rest += target.split(os.sep)[::-1]
            at = os.sep if target.startswith(os.sep) else at
        elif folder:
            at = place
        else:
            return steps
    return steps


def make_watcher(
    path: str, tell: Callable[[Event], None], logger: logging.Logger
) -> Watcher | None:
    """Watch a directory and call ``tell`` for each event, in a thread of the watcher.

    None if that is impossible here: the log says why, and the directory has to be read in steps.
    """
    try:
        return Watcher(path, tell)
    except AttributeError:
        logger.info("%s is read at intervals: this system has no inotify", path)
    except OSError as error:
        logger.warning("%s is read at intervals: the kernel cannot watch it (%s)", path, error)
    return None


class Watcher:
    """Watches a directory, whatever decides where its path leads, and where its links lead.

    A change of the mounts of this process, which may hide what is watched, is an event of None.

    `renew` and `follow` are called by one thread.

    Args:
        path: absolute; need not exist.
        tell: called for each event, in a thread of the watcher.

    Raises:
        AttributeError: this system has no inotify.
        OSError: a limit of the kernel is reached.
    """

    def __init__(self, path: str, tell: Callable[[Event], None]) -> None:
        """Begin to watch."""
        self._path = path
        self._tell = tell
        self._real = path
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._check(self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._end, self._ending = os.pipe()
        self._mounts, self._poll = -1, select.poll()
        for fd in (self._fd, self._end):
            self._poll.register(fd, select.POLLIN)
        with suppress(OSError):  # no /proc: then changes of mounts are not seen
            self._mounts = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._poll.register(self._mounts, select.POLLPRI)
        self._changing = threading.Lock()
        # Who hears of what: the name of a link, or None for the directory as a whole. With each
        # watch, the name in a directory that is meant, "" for itself and None for all.
        self._hearers: dict[int, set[tuple[str | None, str | None]]] = {}
        self._watches: dict[str | None, set[tuple[int, str | None]]] = {}
        self._left: tuple[int, str] | None = None  # the first half of a move
        self._thread = threading.Thread(target=self._run, name="sparts-watch", daemon=True)
        try:
            self.renew()
            self._thread.start()
        except BaseException:
            self._close()
            raise

    def _check(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            what = "no watches are left (fs.inotify.max_user_watches)"
            raise OSError(number, what if number == errno.ENOSPC else os.strerror(number))
        return result

    # -- what to watch -----------------------------------------------------------------------------

    def renew(self) -> None:
        """Watch what is there now: the directory, if it is another than before, and its path.

        OSError: as of `follow`.
        """
        parent, name = os.path.split(self._path)

        def find() -> list[Step]:
            steps = steps_to(os.sep, self._path)
            self._real = os.path.realpath(self._path)
            if os.path.isdir(self._real):
                steps.append(Step(self._real, None, _CONTENTS | _NAMES))
                steps.append(Step(os.path.realpath(parent), name, _NAMES))
            return steps

        self._subscribe(None, find)

    def follow(self, name: str) -> None:
        """Watch what a symbolic link of the directory leads to; nothing for anything else.

        OSError: a limit of the kernel is reached, or something must not be watched.
        """
        if os.path.islink(os.path.join(self._real, name)):
            self._subscribe(name, lambda: steps_to(self._real, name))
        elif name in self._watches:
            self._subscribe(name, list)

    def follow_only(self, names: Iterable[str]) -> None:
        """Watch nothing for links of other names."""
        for name in self._watches.keys() - set(names) - {None}:
            if name is not None:
                self._subscribe(name, list)

    def _subscribe(self, hearer: str | None, find: Callable[[], list[Step]]) -> None:
        """Watch what ``find`` finds, until that is the same before and after."""
        steps = find()
        for _ in range(_TRIES):
            with self._changing:
                self._watch(hearer, steps)
            before, steps = steps, find()
            if steps == before:
                return
        self._tell(None if hearer is None else Touched(hearer, True))  # it changes all the time

    def _watch(self, hearer: str | None, steps: list[Step]) -> None:
        watches = set()
        for step in steps:
            mask = step.mask | _ADD | (_DONT_FOLLOW if step.name == "" else 0)
            path = os.fsencode(step.path)
            try:
                number = self._check(self._libc.inotify_add_watch(self._fd, path, mask))
            except (FileNotFoundError, NotADirectoryError):
                continue  # it has just gone
            self._hearers.setdefault(number, set()).add((hearer, step.name))
            watches.add((number, step.name))
        for number, name in self._watches.pop(hearer, set()) - watches:
            hearers = self._hearers.get(number, set())
            hearers.discard((hearer, name))
            if not hearers and self._hearers.pop(number, None) is not None:
                self._libc.inotify_rm_watch(self._fd, number)
        if watches:
            self._watches[hearer] = watches

    # -- what happens ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            ready = dict(self._poll.poll(None if self._left is None else _PAIR_TIME))
            if self._end in ready:
                return
            if self._mounts in ready:  # something may be there instead of what is watched
                self._tell(None)
            if self._fd not in ready:
                self._tell_left()
                continue
            data, at = os.read(self._fd, 1 << 16), 0
            while at < len(data):
                number, mask, cookie, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size + length
                self._heard(number, mask, cookie, data[at - length : at].rstrip(b"\0"))

    def _heard(self, number: int, mask: int, cookie: int, raw: bytes) -> None:
        if mask & _OVERFLOW:
            self._tell(None)
            return
        name = os.fsdecode(raw)
        with self._changing:
            if mask & _IGNORED:  # the kernel watches it no more
                self._hearers.pop(number, None)
                return
            hearers = sorted(self._hearers.get(number, ()), key=str)
        for hearer, meant in hearers:
            if meant is None and name:
                self._file(name, mask, cookie)
            elif meant in (name, None):
                self._tell(None if hearer is None else Touched(hearer, True))

    def _file(self, name: str, mask: int, cookie: int) -> None:
        """Report what happened to a file of the directory; the halves of a move come together."""
        if self._left is not None:
            if mask & _MOVED_TO and cookie == self._left[0]:
                self._tell(Moved(self._left[1], name))
                self._left = None
                return
            self._tell_left()
        if mask & _IS_DIR:
            return
        if mask & _MOVED_FROM:
            self._left = cookie, name
        else:
            self._tell(Touched(name, bool(mask & _DELETE)))

    def _tell_left(self) -> None:
        if self._left is not None:
            self._tell(Touched(self._left[1], True))
            self._left = None

    def stop(self) -> None:
        """Report nothing more; may be called again."""
        with self._changing:
            if self._ending >= 0:
                os.close(self._ending)
                self._ending = -1

    def join(self) -> None:
        """Wait for the thread to end; may be called again."""
        self._thread.join()
        self._close()

    def _close(self) -> None:
        self.stop()
        with self._changing:
            for fd in (self._fd, self._end, self._mounts):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._end = self._mounts = -1
