"""DirectoryWatcherTask: calls back when the files of one directory change."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import CallbackCounter, counter, own
from sparts.errors import FATAL, OptionError, call_plain
from sparts.options import Option, flag_of, option
from sparts.tasks.file_states import FileStates, same, same_inode
from sparts.tasks.inotify import Event, Moved, Watcher, make_watcher
from sparts.tasks.periodic import ExecuteContext, TryLater
from sparts.tasks.poller import PollerTask
from sparts.tasks.runs import Run

if TYPE_CHECKING:
    from sparts.tasks.schedules import Schedule
    from sparts.vservice import VService

__all__ = ["DirectoryWatcherTask"]

Files = list[tuple[str, Any]]
"""Names and the result of `DirectoryWatcherTask.stat` for each."""

_MOST_EVENTS = 50_000
"""More events than that are forgotten, and the directory is read as a whole."""


class DirectoryWatcherTask(PollerTask):
    """Calls back in its worker thread when a file in ``PATH`` was created, changed or deleted.

    On Linux the kernel reports changes (inotify), also moves, what symbolic links lead to, and the
    directory itself; with ``poll``, or on other systems, the directory is read every ``INTERVAL``.
    What counts is the difference between two looks: a file that comes and goes in between is not
    reported, and many changes are one. Subdirectories are not reported.

    A change counts as taken when its callback returns. After an exception the other changes are
    reported first; then it leaves `execute` as in every periodic task, and the change is reported
    again: later (`TryLater`), after the restart of the worker (``RESTART``), or after
    ``RETRY_AFTER`` seconds or at the next look (``ON_ERROR = "log"``).
    """

    PATH: ClassVar[str | None] = None
    """The directory; it may be missing at times, also at the start."""
    INTERVAL: float | str | timedelta | None = 1.0
    IGNORE_INITIAL_FILES: ClassVar[bool] = True
    """Whether the files that are there at the start are known, or reported as created."""

    path: Option[str] = option(
        default=lambda cls: cls.PATH,
        metavar="DIRECTORY",
        help="directory to watch",
        reloadable=False,
    )
    poll: Option[bool] = option(
        type=bool,
        default=False,
        help="read the directory at each interval, even where the kernel reports changes (for "
        "network file systems)",
        reloadable=False,
    )

    n_events: counter = counter(help="Files found created, changed, deleted or moved.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._directory = ""
        self._known: dict[str, Any] = {}
        self._there = self._found = True
        self._events: list[Event] = []
        self._events_lock = threading.Lock()
        self._triggered = False
        self._watcher: Watcher | None = None
        self._polls = False
        self._states = FileStates(lambda path: self.stat(path), self.logger)
        self._error: BaseException | None = None
        base, cls = DirectoryWatcherTask, type(self)
        self._always_reads = (
            cls.fetch is not base.fetch
            or cls.listdir is not base.listdir
            or cls.onValueChanged is not base.onValueChanged
        )

    @CallbackCounter
    def n_files(self) -> int:
        """How many files are known to be in the directory."""
        return len(self._known)

    # -- to override; all are called in the worker thread ------------------------------------------

    def onFileCreated(self, name: str, stat: os.stat_result, /) -> None:  # noqa: N802
        """Take a new file; the default does nothing."""

    def onFileDeleted(self, name: str, old_stat: os.stat_result, /) -> None:  # noqa: N802
        """Take note of a file that is gone; the default does nothing."""

    def onFileChanged(  # noqa: N802
        self, name: str, old_stat: os.stat_result, new_stat: os.stat_result, /
    ) -> None:
        """Take a file with other contents, times or identity; the default does nothing."""

    def onFileMoved(  # noqa: N802
        self, old_name: str, new_name: str, old_stat: os.stat_result, new_stat: os.stat_result, /
    ) -> None:
        """Take note of a file with a new name within the directory; with inotify alone.

        Called if there was no file of the new name. The default calls `onFileDeleted` and
        `onFileCreated`, which is what happens without inotify.
        """
        self.onFileDeleted(old_name, old_stat)
        self.onFileCreated(new_name, new_stat)

    def onDirectoryDeleted(self) -> None:  # noqa: N802
        """Take note that the directory is gone, after its files; the default does nothing."""

    def onDirectoryCreated(self) -> None:  # noqa: N802
        """Take note that the directory is back, before its files; the default does nothing."""

    def onValueChanged(self, old: Files, new: Files, /) -> None:  # noqa: N802
        """Take a difference between two readings of the whole directory.

        The default calls the callbacks for files. If it is overridden, every event has the
        directory read as a whole.
        """
        found = dict(new)
        for name in [name for name, _ in old if name not in found]:
            self._compare_file(name, None)
        for name, stat in new:
            self._compare_file(name, stat)

    def fetch(self) -> Files:
        """Return the name and `stat` of each file, sorted, without subdirectories.

        Also called in the lifecycle thread, by `initTask`. If it is overridden, every event has it
        called.
        """
        try:
            names = sorted(self.listdir(self._directory))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                self._found = False
                return []
            self._states.warn(self._directory, error)
            return self.current_value
        self._found = True
        self._states.works(self._directory)
        for name in names:
            self._follow(name)
        if self._watcher is not None:
            self._watcher.follow_only(names)
        found = ((name, self._stat(name)) for name in names)
        return [(name, stat) for name, stat in found if stat is not None]

    def listdir(self, path: str) -> Iterable[str]:
        """Return the names in the directory. If it is overridden, every event has it called."""
        return os.listdir(path)

    def stat(self, path: str) -> Any:
        """Return what distinguishes one state of a file from another, usually an `os.stat_result`.

        ``path`` is the directory and the name. `OSError` if there is no such file.
        """
        return os.stat(path)

    # -- its life ----------------------------------------------------------------------------------

    @property
    def current_value(self) -> Files:
        """The name and `stat` of each file whose change was taken, sorted; from any thread."""
        return sorted(self._known.copy().items(), key=lambda item: item[0])

    @current_value.setter
    def current_value(self, value: Files) -> None:
        self._known = dict(value or ())

    def getValue(self, timeout: float | None = None) -> Files:  # noqa: N802
        """Return `current_value`, from any thread; see `PollerTask.getValue`."""
        super().getValue(timeout)
        return self.current_value

    def initTask(self) -> None:  # noqa: N802
        """Begin to watch, and take the files that are there as known if they are to be ignored.

        OptionError: there is no path.
        """
        super().initTask()
        self._directory = os.path.abspath(self.path)
        if not self.poll:
            self._watcher = make_watcher(self._directory, self._note, self.logger)
        try:
            found = dict(self.fetch())
        except BaseException:  # no stop follows
            if self._watcher is not None:
                self._watcher.stop()
            raise
        self._there = self._found
        if not self._found:
            self.logger.warning("%s is missing; it is watched for", self._directory)
        elif self.IGNORE_INITIAL_FILES:
            self._known = found

    def stop(self) -> None:
        """Watch no more."""
        super().stop()
        if self._watcher is not None:
            self._watcher.stop()

    def join(self) -> None:
        """Wait for the end of the worker and of the watcher's thread."""
        super().join()
        if self._watcher is not None:
            self._watcher.join()

    def _make_schedule(self) -> Schedule | None:
        if not self.path:
            raise OptionError(
                f"{self.name} has no directory to watch: set {type(self).__name__}.PATH, or give "
                f"{flag_of(type(self), 'path')}."
            )
        return super()._make_schedule() if self._watcher is None or self._polls else None

    def _runloop(self) -> None:
        self.trigger()  # what happened before the start, or before a restart
        super()._runloop()

    def _failed(self, run: Run, error: BaseException) -> None:
        super()._failed(run, error)
        if run.worker.schedule is None:  # it goes on, and nothing else would have it look again
            again = Run(run.worker, ExecuteContext(), [])
            self._runs.put_off(again, type(self).clock.monotonic() + self.RETRY_AFTER)

    def _note(self, event: Event) -> None:
        """Take an event from the watcher's thread."""
        with self._events_lock:
            if len(self._events) >= _MOST_EVENTS:
                self._events = [None]
            self._events.append(event)
            first, self._triggered = not self._triggered, True
        if first:
            self.trigger()

    # -- the look ----------------------------------------------------------------------------------

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Compare the directory with what is known, and call back for each difference."""
        with self._events_lock:
            events, self._events = self._events, []
            self._triggered = False
        try:
            self._look(events)
            if self._error is not None:
                raise self._error
        except BaseException:
            self._error = None
            with self._events_lock:
                self._events = [*(events or [None]), *self._events]
            raise
        self._note_fetched(None)

    def _look(self, events: list[Event]) -> None:
        whole = self._watcher is None or not events or None in events
        if whole or self._always_reads:
            if not self._always_reads:
                self._handle(event for event in events if isinstance(event, Moved))
            self._compare()
        else:
            self._handle(events)

    def _handle(self, events: Iterable[Event]) -> None:
        """Look at the files that events name, each once, in order; moves in their place."""
        dirty: dict[str, bool] = {}
        for event in events:
            if isinstance(event, Moved):
                self._look_at(dirty)
                dirty = {}
                self._move(event)
            elif event is not None:
                dirty[event.name] = event.gone or dirty.get(event.name, False)
        self._look_at(dirty)

    def _look_at(self, dirty: dict[str, bool]) -> None:
        for name, gone in dirty.items():
            self._follow(name)
            stat = self._stat(name)
            # If nothing is there, the event that says where it went may still be to come.
            if stat is not None or gone or os.path.isdir(os.path.join(self._directory, name)):
                self._compare_file(name, stat)

    def _compare_file(self, name: str, new: Any) -> None:
        old = self._known.get(name)
        if old is None and new is None:
            return
        if new is None:
            if self._call(self.onFileDeleted, name, old):
                del self._known[name]
        elif old is None:
            if self._call(self.onFileCreated, name, new):
                self._known[name] = new
        elif same(old, new) or self._call(self.onFileChanged, name, old, new):
            self._known[name] = new

    def _move(self, event: Moved) -> None:
        for name in event:
            self._follow(name)
        old, new = self._known.get(event.old), self._stat(event.new)
        known = event.new in self._known
        # Two changes then, of which each may be taken or not.
        plain = getattr(self.onFileMoved, "__func__", None) is DirectoryWatcherTask.onFileMoved
        if plain or known or old is None or new is None or not same_inode(old, new):
            self._look_at({event.old: True, event.new: False})
        elif self._call(self.onFileMoved, event.old, event.new, old, new):
            del self._known[event.old]
            self._known[event.new] = new

    def _call(self, callback: Callable[..., object], *args: Any) -> bool:
        """Call back; return whether the change was taken, and need not be reported again."""
        try:
            call_plain(callback, *args)
        except FATAL:
            raise
        except BaseException as error:  # raised again when the other changes have been reported
            if self._error is None or isinstance(self._error, TryLater):
                self._error = error
            return False
        own(self, DirectoryWatcherTask.n_events).increment()
        return True

    def _compare(self) -> None:
        """Read the whole directory."""
        if self._watcher is not None:
            self._try_to_watch(self._watcher.renew)
        found = self.fetch()
        if self._found and not self._there:
            self.logger.info("%s is back", self._directory)
            call_plain(self.onDirectoryCreated)
            self._there = True
        known, now = self.current_value, dict(found)
        if now.keys() != self._known.keys() or not all(same(now[name], old) for name, old in known):
            call_plain(self.onValueChanged, known, found)
            if self._error is None:
                self._known = now
        if not self._found and self._there and self._error is None:
            self.logger.warning("%s is gone; it is watched for", self._directory)
            call_plain(self.onDirectoryDeleted)
            self._there = False

    def _follow(self, name: str) -> None:
        """Watch what a link leads to, before it is looked at."""
        if self._watcher is not None:
            self._try_to_watch(self._watcher.follow, name)

    def _try_to_watch(self, watch: Callable[..., None], *args: str) -> None:
        """Watch more; if that is impossible, read the directory at intervals, too, from now on."""
        try:
            watch(*args)
        except OSError as error:
            if self._polls:
                return
            self._polls = True
            self.logger.warning(
                "%s is read at intervals, too: the kernel cannot watch all that belongs to it (%s)",
                self._directory, error,
            )  # fmt: skip
            for worker in self._runs.workers:
                worker.schedule = self._make_schedule()

    def _stat(self, name: str) -> Any:
        return self._states.look(os.path.join(self._directory, name), self._known.get(name))
