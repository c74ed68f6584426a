"""What a log line looks like: text, text with colour, with journald's priority, JSON; and what
writes it.

And what it says beside its message, such as which request it is about; and what it may not say: the
values of secret options, which `sparts.masking` knows.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from sparts.errors import text_of, traceback_of, type_name
from sparts.masking import MASK, has_secrets, lines, masked, one_line
from sparts.this_process import complain, reason_of

log_fields: ContextVar[Mapping[str, object]] = ContextVar("log_fields")
"""The fields of log lines from the present context (a coroutine and what it starts, or a thread).

Who serves requests sets it once for each: ``log_fields.set({"request_id": "7f3a"})``. A line
of text then ends with ``[request_id=7f3a]``; a JSON line has the keys.
"""

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What each record has."""

process_fields: dict[str, object] = {}
"""The fields of all log lines of this process, such as which of several copies it is."""

_NONE: Mapping[str, object] = {}


def present_fields() -> Mapping[str, object]:
    """Return the fields of this process and of the present context, without secrets."""
    found = log_fields.get(_NONE)
    return {**process_fields, **masked(dict(found))} if found else process_fields


class SecretFilter(logging.Filter):
    """Put this on a handler of your own, and no secret passes it; ours have it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask one record where it holds a secret (called by logging)."""
        if not has_secrets():
            return True
        try:
            message = record.getMessage()
        except BaseException:  # the formatter says so: mask them one by one
            record.msg, args = masked(record.msg), masked(record.args)
            record.args = tuple(args) if isinstance(args, list) else args
        else:
            shown = masked(message)
            if shown != message:
                record.msg, record.args = shown, ()
        if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
            text = traceback_of(record.exc_info[1])
            record.exc_text = text if MASK in text else None
        fields = vars(record)
        for name in ("exc_text", "stack_info"):
            fields[name] = masked(fields[name])
        for name in fields.keys() - STANDARD:
            value = masked(fields.pop(name))
            fields[masked(name)] = value
        return True


# -- what a line looks like ------------------------------------------------------------------------

_COLOURS = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
# A line break before LEVEL:Logger:, with or without a time.
_FORGED = r"\n(?=(?:\d\S+ )?[A-Z]{3,}:[^\s:]*:)"


def make_formatter(
    format: str, services: list[str], to_stderr: bool, timed: bool
) -> logging.Formatter:
    """The formatter for a form, and for stderr what it is connected to.

    Args:
        format: "text" or "json".
        services: the names of the services that log through it.
        to_stderr: whether the lines go to stderr, which may be a terminal or the journal.
        timed: whether text lines begin with the time; JSON has it always.
    """
    inner = JSONFormatter(services) if format == "json" else TextFormatter(timed)
    if to_stderr and under_journald(os.environ):
        return PriorityFormatter(inner)
    if to_stderr and format == "text" and colour_wanted(os.environ):
        return ColourFormatter(timed)
    return inner


def under_journald(environ: Mapping[str, str]) -> bool:
    """Whether stderr is the journal's: ``JOURNAL_STREAM`` names its device and inode."""
    if not environ.get("JOURNAL_STREAM"):
        return False
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return environ["JOURNAL_STREAM"] == f"{found.st_dev}:{found.st_ino}"


def colour_wanted(environ: Mapping[str, str]) -> bool:
    """Whether stderr is a terminal that shows colour and nobody said no (``NO_COLOR``)."""
    if environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


class SafeFormatter(logging.Formatter):
    """Loses no line, and lets no control character through: what cannot be shown, as its
    ``__str__`` raises, is shown as such.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        try:
            return lines(super().format(record))
        except BaseException:  # of arguments or of what is logged; it does not concern who logs
            record.msg, record.args = message_of_record(record), ()
            return lines(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The traceback of an error."""
        try:
            return super().formatException(ei)
        except BaseException:
            return traceback_of(ei[1])


def message_of_record(record: logging.LogRecord) -> str:
    """The message of a record; never raises, whatever its arguments do."""
    try:
        return "".join((record.getMessage(),))
    except BaseException as error:
        args = record.args if isinstance(record.args, tuple) else (record.args,)
        shown = ", ".join(text_of(arg, repr) for arg in args)
        where = f"{record.pathname}:{record.lineno}"
        why = f"cannot be formatted with {shown}: {type_name(error)}, at {where}"
        return f"{text_of(record.msg)} ({why})"


class TextFormatter(SafeFormatter):
    """``LEVEL:Logger:message``, and the fields of the context: ``[request_id=7f3a]``.

    A line break before what looks like the beginning of a record is shown as ``\\n``: an error may
    quote what a client sent.

    Args:
        timed: whether the time comes before it: `local_time`.
    """

    def __init__(self, timed: bool = False) -> None:
        super().__init__(logging.BASIC_FORMAT)
        self.timed = timed

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        text = super().format(record)
        return re.sub(_FORGED, r"\\n", text) if "\n" in text else text

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The first line of a record (called by `format`)."""
        line, fields = super().formatMessage(record), present_fields()
        if self.timed:
            line = f"{local_time(record.created)} {line}"
        if not fields:
            return line
        pairs = (f"{name}={one_line(text_of(value))}" for name, value in fields.items())
        return f"{line} [{' '.join(pairs)}]"


class ColourFormatter(TextFormatter):
    """``LEVEL:Logger:message`` with the level in colour."""

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        level = record.levelname
        colour = f"\x1b[{_COLOURS.get(level, '0')}m{level}\x1b[0m"
        return super().format(record).replace(level, colour, 1)


def local_time(seconds: float) -> str:
    """A time as ISO 8601 has it, with milliseconds and the offset: 2026-11-27T18:04:05.678+01:00.

    Args:
        seconds: since the epoch.
    """
    text = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
    return f"{text[:19]}.{int(seconds * 1000) % 1000:03d}{text[19:22]}:{text[22:24]}"


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
    if level >= logging.WARNING:
        return 2 if level >= logging.CRITICAL else 3 if level >= logging.ERROR else 4
    return 6 if level >= logging.INFO else 7


class JSONFormatter(SafeFormatter):
    """One JSON object a line, of ASCII alone; by the standard library, as structlog costs 94 ms.

    Keys: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message``, ``service``, ``task`` (of a
    task's logger), ``thread``, ``exception`` (``type``, ``message``, ``traceback``), ``stack``, the
    fields of the context (`sparts.logs.log_fields`), and what the call gave as ``extra``; an extra
    field of one of these names is called ``extra.NAME``.

    Args:
        services: the names of the services that log through it; the list may change.
    """

    def __init__(self, services: list[str]) -> None:
        super().__init__()
        self.services = services

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        import json

        whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{whole}.{int(record.created * 1000) % 1000:03d}Z",
            "level": record.levelname, "logger": record.name,
            "message": message_of_record(record), **self._owner(record.name),
            "thread": record.threadName, **self._exception(record),
        }  # fmt: skip
        fields = {**present_fields(), **fields}
        for name, value in vars(record).items():
            if name not in STANDARD:
                fields[f"extra.{name}" if name in fields else name] = value
        try:
            return json.dumps(fields, default=text_of, allow_nan=False)
        except Exception:  # a key that is no text, NaN, a circle, a dict or number of its own kind
            return json.dumps({name: _sayable(value) for name, value in fields.items()})

    def _owner(self, logger: str) -> dict[str, str]:
        """The service and the task that a logger's name speaks for."""
        for service in sorted(self.services, key=len, reverse=True):  # "Web.admin" before "Web"
            if f"{logger}.".startswith(f"{service}."):
                task = logger[len(service) + 1 :].partition(".")[0]
                return {"service": service, "task": task} if task else {"service": service}
        return {"service": self.services[0]} if len(set(self.services)) == 1 else {}

    def _exception(self, record: logging.LogRecord) -> dict[str, Any]:
        found: dict[str, Any] = {"stack": record.stack_info} if record.stack_info else {}
        error = record.exc_info[1] if record.exc_info else None
        if record.exc_info and error is not None:
            found["exception"] = {
                "type": type(error).__qualname__,
                "message": masked(text_of(error)),
                "traceback": record.exc_text or self.formatException(record.exc_info),
            }
        return found


def _sayable(value: object) -> object:
    """``value`` if JSON can say it, or its text."""
    import json

    try:
        json.dumps(value, allow_nan=False)
    except Exception:
        return masked(text_of(value, repr))
    return value


# -- where it goes ---------------------------------------------------------------------------------


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

    def reopen(self) -> None:
        """Open a file by its path again (after SIGHUP); keep the old one if that cannot be."""

    def take_output(self) -> bool:
        """Have standard output and error go to the file, from now on, rotations included."""
        return False

    def give(self, uid: int, gid: int) -> None:
        """Make the file another user's, unless it is no plain file or may have a second name."""

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
