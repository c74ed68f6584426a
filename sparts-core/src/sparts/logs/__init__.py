"""Where log lines go and what they look like: handlers, formats, levels, secrets kept out.

`configure` sets up logging for one service and gives a `Logging` that undoes it. The service's own
loggers, its package's and sparts' follow ``--level``; those of libraries tell warnings and worse,
unless ``--log-level-for`` says otherwise. An application that gave the root logger handlers of its
own is left alone, but for the filter that keeps secrets out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Sequence
from os import PathLike, fspath
from os.path import abspath
from typing import NamedTuple

from sparts.errors import OptionError
from sparts.logs.fields import log_fields
from sparts.logs.formats import make_formatter
from sparts.logs.handlers import LogFileHandler, LogLine, RecentLines, StderrHandler
from sparts.logs.secrets import SecretFilter, hide_secret
from sparts.option_types import Expected

__all__ = [
    "FORMATS",
    "LogLine",
    "Logging",
    "RecentLines",
    "SecretFilter",
    "configure",
    "hide_secret",
    "level_for",
    "level_name",
    "log_fields",
]

FORMATS = ("text", "json")
# The handlers in use, by file and format, with the names of the services that share each.
_OURS: dict[tuple[str | None, str], tuple[logging.Handler, list[str]]] = {}
_lock = threading.Lock()


def level_name(text: str) -> str:
    """A level of the standard library by its name in any case, or by its number."""
    word = text.strip().upper()
    if word.isascii() and word.isdigit() and len(word) < 4:
        word = logging.getLevelName(int(word))
    if word in logging.getLevelNamesMapping():
        return word
    raise Expected("a log level (DEBUG, INFO, WARNING, ERROR, CRITICAL)")


class LoggerLevel(NamedTuple):
    """A logger's name and the level that it is to have."""

    name: str
    level: str

    def __str__(self) -> str:
        return f"{self.name}={self.level}"


def level_for(text: str) -> LoggerLevel:
    """A logger's name and its level, from ``NAME=LEVEL``."""
    name, equals, level = text.partition("=")
    if not equals or not name.strip():
        raise Expected("NAME=LEVEL, such as tornado.access=INFO")
    return LoggerLevel(name.strip(), level_name(level))


def _number(level: str | int) -> int:
    """The number of a level's name."""
    return level if isinstance(level, int) else logging.getLevelNamesMapping()[level_name(level)]


class Logging:
    """The logging of one service, from `configure` to `close`.

    Attributes:
        handler: what writes; None if the application configured logging itself.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self.handler: logging.Handler | None = None
        self._own = own  # whose level is the service's; its name first
        self._key: tuple[str | None, str] | None = None
        self._levels: dict[logging.Logger, int] = {}
        self._filtered: list[logging.Handler] = []
        self._filter = SecretFilter()

    def set_levels(self, level: str | int, levels: Iterable[tuple[str, str]]) -> None:
        """Set the service's level and those of single loggers, in place of all set before.

        Args:
            level: that of the service's own loggers; those of libraries tell warnings and worse.
            levels: pairs of a logger's name and its level.
        """
        self._restore_levels()
        if self.handler is None:
            return
        libraries = max(_number(level), logging.WARNING)
        for name, value in [(None, libraries), *((own, level) for own in self._own), *levels]:
            logger = logging.getLogger(name)
            self._levels.setdefault(logger, logger.level)
            logger.setLevel(_number(value))

    def _restore_levels(self) -> None:
        for logger, level in self._levels.items():
            logger.setLevel(level)
        self._levels.clear()

    def reopen(self) -> None:
        """Open the log file again by its path, after a rotation; nothing to do for stderr."""
        if isinstance(self.handler, LogFileHandler):
            self.handler.reopen()

    def take_output(self) -> bool:
        """Have the log file take standard output and error as well; False: there is no file."""
        if not isinstance(self.handler, LogFileHandler):
            return False
        self.handler.take_output()
        return True

    def give(self, uid: int, gid: int) -> None:
        """Make the log file another user's, who is to write to it."""
        if isinstance(self.handler, LogFileHandler):
            self.handler.give(uid, gid)

    def close(self) -> None:
        """Undo `configure`: handlers, filters and levels are as they were. May be called twice."""
        self._restore_levels()
        while self._filtered:
            self._filtered.pop().removeFilter(self._filter)
        if self._key is not None:
            _release(self._key, self._own[0])
        self.handler = self._key = None


def configure(
    name: str,
    *,
    level: str | int = "DEBUG",
    logfile: str | PathLike[str] | None = None,
    format: str = "text",
    levels: Iterable[tuple[str, str]] = (),
    package: str = "",
    source: str = "--logfile",
) -> Logging:
    """Set up logging for a service; called by `VService.initLogging`.

    Args:
        name: the service's name, which its loggers begin with.
        level: the least level shown of the service's loggers.
        logfile: a file to append to; None is stderr.
        format: "text" (``LEVEL:Logger:message``) or "json" (an object a line).
        levels: pairs of a logger's name and its level, which count before all others.
        package: the module of the service's class; its top package's loggers follow ``level`` too.
        source: what named the file, for messages.

    Raises:
        OptionError: the file cannot be written.
    """
    setup = Logging([name, "sparts", *filter(None, [package.partition(".")[0]])])
    ours = [handler for handler, _ in _OURS.values()]
    others = [
        handler
        for handler in logging.getLogger().handlers
        if handler not in ours and not isinstance(handler, RecentLines)
    ]
    if others:  # the application configured logging
        for handler in others:
            handler.addFilter(setup._filter)
        setup._filtered = others
        return setup
    key = (None if logfile is None else abspath(fspath(logfile)), format)
    try:
        setup.handler = _acquire(key, name)
    except OSError as exc:
        raise OptionError(f"{source}: cannot log to {key[0]}: {exc.strerror}.") from exc
    setup._key = key
    setup.set_levels(level, levels)
    return setup


def _acquire(key: tuple[str | None, str], name: str) -> logging.Handler:
    """The root logger's handler for this target and form, made if no service has it yet."""
    path, format = key
    with _lock:
        if key not in _OURS:
            handler = StderrHandler() if path is None else LogFileHandler(path)
            services: list[str] = []
            handler.setFormatter(make_formatter(format, services, path is None))
            handler.addFilter(SecretFilter())
            logging.getLogger().addHandler(handler)
            _OURS[key] = handler, services
        _OURS[key][1].append(name)
        return _OURS[key][0]


def _release(key: tuple[str | None, str], name: str) -> None:
    """Take the handler away when its last service has ended."""
    with _lock:
        handler, services = _OURS[key]
        services.remove(name)
        if not services:
            del _OURS[key]
            logging.getLogger().removeHandler(handler)
            handler.close()
