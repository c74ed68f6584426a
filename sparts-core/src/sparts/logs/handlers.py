"""The two places that log lines go to: stderr, and a file that survives rotation."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO


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

    def close(self) -> None:
        """Close the file."""
        self.stream.close()
        super().close()
