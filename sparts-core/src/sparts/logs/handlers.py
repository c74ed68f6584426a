"""The places that log lines go to: standard error, and a file that survives rotation."""

from __future__ import annotations

import logging
import os
import stat
import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress

from sparts.standard_streams import complain, reason_of


class OutputHandler(logging.Handler):
    """Writes each record as one line; what cannot be written is lost, and never an error.

    The first loss is reported once on standard error and to the observers. When lines can be
    written again, the first of them is how many were lost.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trouble: str = ""
        """What is wrong with the output now; "" for nothing."""
        self.observers: list[Callable[[str], object]] = []
        """Called with `trouble` when it changes, in the thread that logs; must not log or block."""
        self._lost = 0

    def write(self, text: str) -> None:
        """Write whole lines out.

        Raises:
            Exception: they could not be written, or not all of them.
        """
        raise NotImplementedError

    def prepare(self) -> str:
        """Return what is wrong with the output before a line is written; "" for nothing."""
        return ""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record (called by logging, under the handler's lock)."""
        try:
            text = self.format(record)
        except Exception:
            self.handleError(record)
            return
        trouble = self.prepare()
        note = self._note_of_loss() if self._lost else ""
        try:
            self.write(f"{note}{text}\n")
        except Exception as error:  # of whatever `sys.stderr` is
            self._lost += 1
            trouble = f"Log lines are lost: {self.describe()}: {reason_of(error)}"
        else:
            self._lost = 0
        self.change_trouble(trouble)

    def describe(self) -> str:
        """Return what the output is, for messages."""
        return "standard error"

    def change_trouble(self, trouble: str) -> None:
        """Note what is wrong now; standard error gets it when it begins, observers always."""
        if trouble == self.trouble:
            return
        if trouble and not self.trouble:
            complain(trouble)
        self.trouble = trouble
        for observer in tuple(self.observers):
            observer(trouble)

    def _note_of_loss(self) -> str:
        text, level = "Log lines lost before this one: %d", logging.WARNING
        record = logging.LogRecord("sparts.logs", level, "", 0, text, (self._lost,), None)
        return self.format(record) + "\n"


class StderrHandler(OutputHandler):
    """Writes to what `sys.stderr` is when a record comes: redirections and daemons change it."""

    def write(self, text: str) -> None:
        """Write whole lines to standard error."""
        if sys.stderr is None:
            return
        try:
            sys.stderr.write(text)
        except UnicodeEncodeError:
            sys.stderr.write(text.encode("ascii", "backslashreplace").decode())
        sys.stderr.flush()


class LogFileHandler(OutputHandler):
    """Appends to a file, and notices when a rotation has moved it away.

    Before each record the path is looked up (a microsecond); if it names another file than the open
    one, it is opened again. Should that fail, records go on to the old file.

    Args:
        path: the file, made if it does not exist.

    Raises:
        OSError: it cannot be opened for appending.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = self._open()  # which can fail, before logging knows of this handler
        self._output_too = False
        self._torn = False  # whether the last line could be written only in part
        super().__init__()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def describe(self) -> str:
        """Return the path."""
        return self.path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless the file is closed."""
        if self._descriptor >= 0:
            super().emit(record)

    def prepare(self) -> str:
        """Open the file again if it was moved away."""
        with suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(self._descriptor)):
                return ""
        return self._open_again()

    def write(self, text: str) -> None:
        """Append whole lines to the file, without a buffer that could fail later."""
        data = text.encode("utf-8", "backslashreplace")
        if self._torn:
            data = b"\n" + data
        while data:
            data = data[os.write(self._descriptor, data) :]
            self._torn = True
        self._torn = False

    def reopen(self) -> None:
        """Open the file by its path again (after SIGHUP); keep the old one if that cannot be."""
        with self.lock or nullcontext():
            if (trouble := self._open_again()) or not self._lost:
                self.change_trouble(trouble)

    def _open_again(self) -> str:
        try:
            new = self._open()
        except OSError as error:
            return f"Cannot open the log file again, keeping the old one: {error}"
        old, self._descriptor, self._torn = self._descriptor, new, False
        os.close(old)
        if self._output_too:
            self.take_output()
        return ""

    def take_output(self) -> None:
        """Have standard output and error go to the file, from now on, rotations included."""
        self._output_too = True
        for descriptor in (1, 2):
            os.dup2(self._descriptor, descriptor)

    def give(self, uid: int, gid: int) -> None:
        """Make the file another user's, unless it is no plain file or may have a second name."""
        found = os.fstat(self._descriptor)
        plain = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        if plain and os.path.samestat(os.lstat(self.path), found):
            os.fchown(self._descriptor, uid, gid)

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._descriptor >= 0:
            with suppress(OSError):  # a network's file system may report it only now
                os.close(self._descriptor)
            self._descriptor = -1
        super().close()
