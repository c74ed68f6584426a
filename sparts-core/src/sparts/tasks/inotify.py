"""The kernel's word on a directory, through watchdog (the extra ``sparts-core[watch]``)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import ObservedWatch


class Touched(NamedTuple):
    """Something happened to a file; ``gone``: it was deleted, or moved out of the directory."""

    name: str
    gone: bool


class Moved(NamedTuple):
    """A file of the directory has a new name in it."""

    old: str
    new: str


Event = Touched | Moved | None
"""What happened to one file, or None: look at the whole directory."""


def _matters(record: logging.LogRecord) -> bool:
    """Whether a record of watchdog's is worth logging: the error that a stop may cause is none."""
    return "called when the thread is inactive" not in str(record.msg)


def make_watcher(
    path: str, tell: Callable[[Event], None], logger: logging.Logger
) -> Watcher | None:
    """Watch a directory and call ``tell`` for each event, in a thread of the watcher.

    None if that is impossible here: the log says why, and the directory has to be read in steps.
    """
    try:
        return Watcher(path, tell)
    except ImportError:
        logger.info("%s is read at intervals; pip install 'sparts-core[watch]' saves that", path)
    except OSError as error:
        logger.warning("%s is read at intervals: the kernel cannot watch it (%s)", path, error)
    return None


class Watcher:
    """Watches a directory, and what is above it for when the directory goes and comes back.

    Args:
        path: absolute; need not exist.
        tell: called for each event, in a thread of the watcher.

    Raises:
        ImportError: watchdog is not installed.
        OSError: the kernel's limit of watches is reached.
    """

    def __init__(self, path: str, tell: Callable[[Event], None]) -> None:
        """Begin to watch."""
        from watchdog import events
        from watchdog.observers.inotify import InotifyObserver

        self._path = path
        self._tell = tell
        own = [events.FileCreatedEvent, events.FileDeletedEvent, events.FileModifiedEvent]
        own += [events.FileMovedEvent, events.FileClosedEvent, events.DirDeletedEvent]
        attributes: Any = getattr(events, "FileAttribEvent", None)  # from watchdog 7 on
        self._own_events = own + ([attributes] if attributes else [])
        self._other_events = [events.DirCreatedEvent, events.DirDeletedEvent, events.DirMovedEvent]
        self._other_events += [events.FileCreatedEvent, events.FileDeletedEvent]  # symbolic links
        self._other_events += [events.FileMovedEvent]
        self._real = path
        self._watches: list[ObservedWatch] = []
        self._watched: tuple[int, str] | None = None
        logging.getLogger("watchdog.observers.inotify").addFilter(_matters)
        self._observer = InotifyObserver()
        try:
            self._observer.start()
            self.renew()
        except BaseException:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join()
            raise

    def renew(self) -> None:
        """Watch what is there now: the directory, if it is another than before, and above it."""
        while (there := self._look()) != self._watched:
            for watch in self._watches:
                self._observer.unschedule(watch)
            self._watches = []
            self._watched = there
            inode, above = there
            try:
                if inode:
                    self._real = os.path.realpath(self._path)
                    self._watch(self._real, self._on_own, self._own_events)
                self._watch(above, self._on_other, self._other_events)
            except FileNotFoundError:
                self._watched = None  # it went at this moment

    def _look(self) -> tuple[int, str]:
        """The identity of the directory (0: it is missing), and the nearest folder above it."""
        try:
            inode = os.stat(self._path).st_ino if os.path.isdir(self._path) else 0
        except FileNotFoundError:
            inode = 0
        above = os.path.dirname(self._path)
        while not os.path.isdir(above):
            above = os.path.dirname(above)
        return inode, above

    def _watch(
        self, path: str, handle: Callable[[FileSystemEvent], None], events: list[Any]
    ) -> None:
        from watchdog.events import FileSystemEventHandler

        class Handler(FileSystemEventHandler):
            def dispatch(self, event: FileSystemEvent) -> None:
                handle(event)

        self._watches.append(self._observer.schedule(Handler(), path, event_filter=events))

    def _on_own(self, event: FileSystemEvent) -> None:
        source, target = os.fsdecode(event.src_path), os.fsdecode(event.dest_path)
        if source == self._real:
            self._lost()
        elif not event.is_directory:
            name = os.path.basename(source)
            gone = event.event_type == "deleted"
            self._tell(Moved(name, os.path.basename(target)) if target else Touched(name, gone))

    def _on_other(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            place = os.fsdecode(path)
            if place and (self._path == place or self._path.startswith(place + os.sep)):
                self._lost()

    def _lost(self) -> None:
        """Have the directory watched anew; what is there next may look the same to `_look`."""
        self._watched = None
        self._tell(None)

    def stop(self) -> None:
        """Tell of nothing more."""
        self._observer.stop()

    def join(self) -> None:
        """Wait for the threads to end."""
        self._observer.join()
