"""A log file that survives rotation."""

from __future__ import annotations

import logging
import os
import stat
from contextlib import nullcontext, suppress

from sparts.logs.formats import OutputHandler


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

    def take_output(self) -> bool:
        """Have standard output and error go to the file, from now on, rotations included."""
        self._output_too = True
        for descriptor in (1, 2):
            os.dup2(self._descriptor, descriptor)
        return True

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
