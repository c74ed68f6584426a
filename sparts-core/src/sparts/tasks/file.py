"""DirectoryWatcherTask: tells what happens to the files of one directory."""

from __future__ import annotations

import os
import stat as stats
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from sparts.counters import CallbackCounter, counter
from sparts.errors import OptionError
from sparts.options import option
from sparts.tasks.inotify import Event, Moved, Watcher, make_watcher
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.schedules import Schedule

if TYPE_CHECKING:
    from sparts.vservice import VService

__all__ = ["DirectoryWatcherTask"]

_BURST = 1000
"""After this many events the directory is read as a whole, for the kernel drops what it cannot keep
(16,384 events, by default) and watchdog does not tell."""


def _same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_mtime_ns, one.st_size, one.st_ino) == (
        other.st_mtime_ns,
        other.st_size,
        other.st_ino,
    )


class DirectoryWatcherTask(PeriodicTask):
    """Calls back in its worker thread when a file in ``PATH`` was created, changed or deleted.

    With the extra ``sparts-core[watch]`` the kernel tells (inotify), also of moves and of the
    directory itself; without it, the directory is read every ``INTERVAL``. What counts is the
    difference between two looks: a file that comes and goes in between is not told of, and many
    changes are one. Subdirectories are not told of. An exception in a callback leaves the worker.
    """

    PATH: ClassVar[str | None] = None
    """The directory; it may be missing at times, also at the start."""
    INTERVAL = 1.0
    IGNORE_INITIAL_FILES: ClassVar[bool] = True
    """Whether the files that are there at the start are taken as known, or told as created."""

    path = option(
        default=lambda cls: cls.PATH, metavar="DIRECTORY", help="what to watch", reloadable=False
    )
    poll = option(
        type=bool,
        default=False,
        help="read the directory at each interval, even if the kernel could tell (for file systems "
        "that others write to over the network)",
        reloadable=False,
        advanced=True,
    )

    n_events = counter(help="Files found created, changed, deleted or moved.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._directory = ""
        self._known: dict[str, os.stat_result] = {}
        self._there = True
        self._events: list[Event] = []
        self._events_lock = threading.Lock()
        self._unchecked = 0
        self._watcher: Watcher | None = None

    @CallbackCounter
    def n_files(self) -> int:
        """How many files are known to be in the directory."""
        return len(self._known)

    # -- to override; all are called in the worker thread ------------------------------------------

    def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
        """Learn of a new file; the default does nothing."""

    def onFileDeleted(self, name: str, old_stat: os.stat_result) -> None:  # noqa: N802
        """Learn of a file that is gone; the default does nothing."""

    def onFileChanged(  # noqa: N802
        self, name: str, old_stat: os.stat_result, new_stat: os.stat_result
    ) -> None:
        """Learn of a file with other contents, times or identity; the default does nothing."""

    def onFileMoved(  # noqa: N802
        self, old_name: str, new_name: str, old_stat: os.stat_result, new_stat: os.stat_result
    ) -> None:
        """Learn of a file with a new name within the directory; with inotify alone.

        Called if there was no file of the new name. The default calls `onFileDeleted` and
        `onFileCreated`, which is what happens without inotify.
        """
        self.onFileDeleted(old_name, old_stat)
        self.onFileCreated(new_name, new_stat)

    def onDirectoryDeleted(self) -> None:  # noqa: N802
        """Learn that the directory is gone, after its files; the default does nothing."""

    def onDirectoryCreated(self) -> None:  # noqa: N802
        """Learn that the directory is back, before its files; the default does nothing."""

    # -- its life ----------------------------------------------------------------------------------

    def initTask(self) -> None:  # noqa: N802
        """Begin to watch, and take the files that are there as known if they are to be ignored.

        OptionError: there is no path.
        """
        if not self.path:
            raise OptionError(
                f"{self.name} has no directory to watch: set {type(self).__name__}.PATH, or give "
                f"--{self.option_prefix().replace('_', '-')}-path."
            )
        self._directory = os.path.abspath(self.path)
        super().initTask()
        if not self.poll:
            self._watcher = make_watcher(self._directory, self._note, self.logger)
        try:
            found = self._read()
        except BaseException:  # no stop follows
            if self._watcher is not None:
                self._watcher.stop()
            raise
        self._there = found is not None
        if found is None:
            self.logger.warning("%s is missing; it is watched for", self._directory)
        elif self.IGNORE_INITIAL_FILES:
            self._known = found

    def stop(self) -> None:
        """Watch no more."""
        super().stop()
        if self._watcher is not None:
            self._watcher.stop()

    def join(self) -> None:
        """Wait for the end of the worker and of the watcher's threads."""
        super().join()
        if self._watcher is not None:
            self._watcher.join()

    def _make_schedule(self) -> Schedule | None:
        return None if self._watcher is not None else super()._make_schedule()

    def _runloop(self) -> None:
        self.trigger()  # what happened before the start, or before a restart
        super()._runloop()

    def _note(self, event: Event) -> None:
        """Take an event from the watcher's thread."""
        with self._events_lock:
            self._events.append(event)
            first = len(self._events) == 1
        if first:
            self.trigger()

    # -- the look ----------------------------------------------------------------------------------

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Compare the directory with what is known, and call back for each difference."""
        with self._events_lock:
            events, self._events = self._events, []
        self._unchecked += len(events)
        if self._watcher is None or not events or len(events) >= _BURST or None in events:
            self._handle(event for event in events if isinstance(event, Moved))
            self._compare()
            return
        self._handle(events)
        if self._unchecked >= _BURST and not self._events:  # the burst is over
            self._compare()

    def _handle(self, events: Iterable[Event]) -> None:
        """Look at the files that events name, each once, in order; moves in their place."""
        dirty: dict[str, bool] = {}
        for event in events:
            if isinstance(event, Moved):
                self._look_at_all(dirty)
                dirty = {}
                self._move(event)
            elif event is not None:
                dirty[event.name] = event.gone or dirty.get(event.name, False)
        self._look_at_all(dirty)

    def _look_at_all(self, dirty: dict[str, bool]) -> None:
        for name, gone in dirty.items():
            stat = self._stat(name)
            if stat is not None or gone:  # else the event that says where it went is still to come
                self._look_at(name, stat)

    def _look_at(self, name: str, new: os.stat_result | None) -> None:
        old = self._known.pop(name, None)
        if new is not None:
            self._known[name] = new
        if old is None and new is not None:
            self.n_events.increment()
            self.onFileCreated(name, new)
        elif old is not None and new is None:
            self.n_events.increment()
            self.onFileDeleted(name, old)
        elif old is not None and new is not None and not _same(old, new):
            self.n_events.increment()
            self.onFileChanged(name, old, new)

    def _move(self, event: Moved) -> None:
        old, new = self._known.get(event.old), self._stat(event.new)
        known = event.new in self._known
        if known or old is None or new is None or old.st_ino != new.st_ino:
            self._look_at_all({event.old: True, event.new: False})
            return
        del self._known[event.old]
        self._known[event.new] = new
        self.n_events.increment()
        self.onFileMoved(event.old, event.new, old, new)

    def _compare(self) -> None:
        """Read the whole directory."""
        self._unchecked = 0
        if self._watcher is not None:
            self._watcher.renew()
        found = self._read()
        if found is not None and not self._there:
            self._there = True
            self.logger.info("%s is back", self._directory)
            self.onDirectoryCreated()
        for name in [name for name in self._known if name not in (found or ())]:
            self._look_at(name, None)
        for name, stat in (found or {}).items():
            self._look_at(name, stat)
        if found is None and self._there:
            self._there = False
            self.logger.warning("%s is gone; it is watched for", self._directory)
            self.onDirectoryDeleted()

    def _read(self) -> dict[str, os.stat_result] | None:
        """The files of the directory, or None if it is missing."""
        try:
            names = os.listdir(self._directory)
        except (FileNotFoundError, NotADirectoryError):
            return None
        found = ((name, self._stat(name)) for name in sorted(names))
        return {name: stat for name, stat in found if stat is not None}

    def _stat(self, name: str) -> os.stat_result | None:
        """What a name stands for now; None for nothing and for a directory."""
        path = os.path.join(self._directory, name)
        try:
            try:
                found = os.stat(path)
            except FileNotFoundError:
                found = os.lstat(path)  # a link to nowhere is a file, too
        except (FileNotFoundError, NotADirectoryError):
            return None
        return None if stats.S_ISDIR(found.st_mode) else found
