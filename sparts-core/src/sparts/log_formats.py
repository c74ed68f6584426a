"""What a log line looks like: text, text with colour, with journald's priority, JSON."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from sparts.log_secrets import masked

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def make_formatter(format: str, services: list[str], to_stderr: bool) -> logging.Formatter:
    """The formatter for a form, and for stderr what it is connected to.

    Args:
        format: "text" or "json".
        services: the names of the services that log through it.
        to_stderr: whether the lines go to stderr, which may be a terminal or the journal.
    """
    inner: logging.Formatter = (
        JSONFormatter(services) if format == "json" else logging.Formatter(logging.BASIC_FORMAT)
    )
    if to_stderr and under_journald(os.environ):
        return PriorityFormatter(inner)
    if to_stderr and format == "text" and colour_wanted(os.environ):
        return ColourFormatter(logging.BASIC_FORMAT)
    return inner


def under_journald(environ: Mapping[str, str]) -> bool:
    """Whether stderr is the journal's: ``JOURNAL_STREAM`` names its device and inode."""
    stream = environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def colour_wanted(environ: Mapping[str, str]) -> bool:
    """Whether stderr is a terminal that shows colour and nobody said no (``NO_COLOR``)."""
    if environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        return sys.stderr.isatty()
    except (ValueError, AttributeError):
        return False


class ColourFormatter(logging.Formatter):
    """``LEVEL:Logger:message`` with the level in colour."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line = super().format(record)
        colour = _COLOURS.get(record.levelname)
        if colour is None:
            return line
        end = len(record.levelname)
        return f"\x1b[{colour}m{line[:end]}\x1b[0m{line[end:]}"


class PriorityFormatter(logging.Formatter):
    """Puts the journal's priority (``<6>``) before every line of another formatter's text."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self.inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        prefix = f"<{priority(record.levelno)}>"
        return prefix + self.inner.format(record).replace("\n", "\n" + prefix)


def priority(level: int) -> int:
    """The syslog priority of a level."""
    if level >= logging.CRITICAL:
        return 2
    if level >= logging.ERROR:
        return 3
    if level >= logging.WARNING:
        return 4
    return 6 if level >= logging.INFO else 7


class JSONFormatter(logging.Formatter):
    """One JSON object a line, of ASCII alone.

    Keys: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, ``service``, ``task`` (of a
    task's logger), ``thread``, ``exception`` (``type``, ``message``, ``traceback``), ``stack``, and
    whatever the call gave as ``extra``; an extra field of one of those names goes under ``extra``.

    Args:
        services: the names of the services that log through it; the list may change.
    """

    def __init__(self, services: list[str]) -> None:
        super().__init__()
        self.services = services

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        import json

        fields: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._owner(record.name),
            "thread": record.threadName,
        }
        if (exception := self._exception(record)) is not None:
            fields["exception"] = exception
        if record.stack_info:
            fields["stack"] = record.stack_info
        _add_extra(fields, record)
        try:
            return json.dumps(fields, default=_plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # a key that is no text, NaN, a circle
            return json.dumps({name: _or_repr(value) for name, value in fields.items()})

    def _owner(self, logger: str) -> dict[str, str]:
        """The service and the task that a logger's name speaks for."""
        for service in self.services:
            if f"{logger}.".startswith(f"{service}."):
                task = logger[len(service) + 1 :].partition(".")[0]
                return {"service": service, "task": task} if task else {"service": service}
        return {"service": self.services[0]} if len(set(self.services)) == 1 else {}

    def _exception(self, record: logging.LogRecord) -> dict[str, str] | None:
        """The exception of a record."""
        if not record.exc_text and record.exc_info and record.exc_info[1] is not None:
            record.exc_text = self.formatException(record.exc_info)
        if not record.exc_text:
            return None
        found: dict[str, str] = {"traceback": record.exc_text}
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            found = {"type": type(error).__qualname__, "message": masked(str(error)), **found}
        return found


_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _add_extra(fields: dict[str, Any], record: logging.LogRecord) -> None:
    """Put what the call gave as ``extra`` into ``fields``."""
    for name, value in vars(record).items():
        if name not in _STANDARD:
            if name in fields:
                fields.setdefault("extra", {})[name] = value
            else:
                fields[name] = value


def _plain(value: object) -> Any:
    """What JSON has no form for, as text."""
    return str(value)


def _or_repr(value: object) -> Any:
    """``value`` if JSON can say it, or the text of it."""
    import json

    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return masked(repr(value))
    return value


def _utc(created: float) -> str:
    """A time in seconds since the epoch, as ISO 8601 in UTC with milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created * 1000) % 1000:03d}Z"
