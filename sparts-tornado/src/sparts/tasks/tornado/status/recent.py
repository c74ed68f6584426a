"""The last log lines of this process, in memory for who looks at the page or the terminal."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import nullcontext
from typing import ClassVar, NamedTuple

from sparts.logs import SecretFilter
from sparts.logs.formats import SafeFormatter


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

    observes: ClassVar[bool] = True  # it is no logging that an application configured

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
