"""The places that log lines go to: stderr, a file that survives rotation, and, for a transport that
shows them, memory."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections import deque
from contextlib import nullcontext
from typing import NamedTuple, TextIO

from sparts.logs.formats import SafeFormatter
from sparts.logs.secrets import SecretFilter


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is when a record comes: redirections and daemons change it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record (called by logging, under the handler's lock)."""
        if sys.stderr is not None:
            self.stream = sys.stderr
            super().emit(record)


class LogFileHandler(logging.StreamHandler[TextIO]):
    """Appends to a file, and notices when a rotation has moved it away.

    Before each record the path is looked up (a microsecond); if it names another file than the open
    one, it is opened again. Should that fail, records go on to the old file and stderr is told
    once.

    Args:
        path: the file, made if it does not exist.

    Raises:
        OSError: it cannot be opened for appending.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._told = False
        self._output_too = False
        super().__init__(self._open())  # which can fail, before logging knows of this handler

    def _open(self) -> TextIO:
        return open(self.path, "a", encoding="utf-8", errors="backslashreplace")

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record (called by logging, under the handler's lock)."""
        try:
            moved = not os.path.samestat(os.stat(self.path), os.fstat(self.stream.fileno()))
        except OSError:
            moved = True
        if moved:
            self.reopen()
        super().emit(record)

    def reopen(self) -> None:
        """Open the file by its path again (after SIGHUP); keep the old one if that cannot be."""
        try:
            new = self._open()
        except OSError as exc:
            if not self._told and sys.stderr is not None:
                sys.stderr.write(f"Cannot open the log file again, keeping the old one: {exc}\n")
            self._told = True
            return
        self._told = False
        if (old := self.setStream(new)) is not None:
            old.close()
        if self._output_too:
            self.take_output()

    def take_output(self) -> None:
        """Have standard output and error go to the file, from now on, rotations included."""
        self._output_too = True
        for descriptor in (1, 2):
            os.dup2(self.stream.fileno(), descriptor)

    def give(self, uid: int, gid: int) -> None:
        """Make the file another user's, unless it is no plain file or may have a second name."""
        found = os.fstat(self.stream.fileno())
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if plain and os.path.samestat(os.lstat(self.path), found):
            os.fchown(self.stream.fileno(), uid, gid)

    def close(self) -> None:
        """Close the file."""
        self.stream.close()
        super().close()


class LogLine(NamedTuple):
    """One record as `RecentLines` keeps it."""

    number: int
    """Counts from 1, in the order of the records."""
    time: float
    """Seconds since the epoch."""
    level: str
    logger: str
    text: str
    """The message, and the traceback if it has one."""


class RecentLines(logging.Handler):
    """Keeps the last records in memory, secrets masked, beside whatever else logs them.

    Args:
        most: how many are kept.
        longest: how many characters of each.
    """

    def __init__(self, most: int, longest: int = 4000) -> None:
        super().__init__()
        self._longest = longest
        self._lines: deque[LogLine] = deque(maxlen=most)
        self._number = 0
        self.setFormatter(SafeFormatter())
        self.addFilter(SecretFilter())

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record (called by logging, under the handler's lock)."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        if len(text) > self._longest:
            text = text[: self._longest] + "..."
        self._number += 1
        self._lines.append(
            LogLine(self._number, record.created, record.levelname, record.name, text)
        )

    def after(self, number: int = 0) -> list[LogLine]:
        """Return the lines kept that came after the one of a number, the oldest first."""
        with self.lock or nullcontext():
            return [line for line in self._lines if line.number > number]

    def install(self) -> None:
        """Take the records that reach the root logger from now on, until `remove`."""
        logging.getLogger().addHandler(self)

    def remove(self) -> None:
        """Take no more records."""
        logging.getLogger().removeHandler(self)
        self.close()
