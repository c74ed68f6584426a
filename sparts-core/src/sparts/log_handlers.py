"""The two places that log lines go to: stderr, and a file that survives rotation."""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO


class StderrHandler(logging.Handler):
    """Writes to what `sys.stderr` is when a record comes: redirections and daemons change it."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record (called by logging, under the handler's lock)."""
        stream = sys.stderr
        if stream is None:
            return
        try:
            stream.write(self.format(record) + "\n")
            stream.flush()
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)


class LogFileHandler(logging.Handler):
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
        self._open()  # before logging knows of this handler
        super().__init__()

    def _open(self) -> None:
        """Open the path and remember which file it is."""
        self._stream: TextIO = open(  # noqa: SIM115 - open for as long as the handler
            self.path, "a", encoding="utf-8", errors="backslashreplace"
        )
        self._file = _identity(os.fstat(self._stream.fileno()))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record (called by logging, under the handler's lock)."""
        try:
            if self._moved():
                self.reopen()
            self._stream.write(self.format(record) + "\n")
            self._stream.flush()
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)

    def _moved(self) -> bool:
        """Whether the path no longer names the open file."""
        try:
            return _identity(os.stat(self.path)) != self._file
        except OSError:
            return True

    def reopen(self) -> None:
        """Open the file by its path again (after SIGHUP); keep the old one if that cannot be."""
        self.acquire()
        try:
            old = self._stream
            self._open()
        except OSError as exc:
            if not self._told and sys.stderr is not None:
                sys.stderr.write(f"Cannot open the log file again, keeping the old one: {exc}\n")
            self._told = True
        else:
            self._told = False
            old.close()
        finally:
            self.release()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


def _identity(found: os.stat_result) -> tuple[int, int]:
    """What tells one file from another."""
    return found.st_dev, found.st_ino
