"""Where log lines go and what they look like: handlers, formats, levels, secrets kept out.

`configure` sets up logging for one service and gives a `Logging` that undoes it. The service's own
loggers, its package's and sparts' follow ``--level``; those of libraries log warnings and worse,
unless ``--log-level-for`` says otherwise. An application that gave the root logger handlers of its
own is left alone, but for the filter that keeps secrets out, unless somebody asks for a file, a
format or the time.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from os import PathLike, fspath
from os.path import abspath

from sparts.errors import OptionError
from sparts.logs.formats import (
    OutputHandler,
    SecretFilter,
    StderrHandler,
    log_fields,
    make_formatter,
)
from sparts.masking import hide_secret
from sparts.option_types import Expected
from sparts.startup import NamedTuple
from sparts.this_process import reason_of

__all__ = [
    "FORMATS", "TIMES", "Logging", "SecretFilter", "configure", "hide_secret", "level_for",
    "level_name", "log_fields",
]  # fmt: skip

FORMATS = ("text", "json")
TIMES = ("always", "never")
if logging.lastResort is not None:  # what is logged before there is a handler
    logging.lastResort.addFilter(SecretFilter())
_Target = tuple[str | None, str, str | None]
# The handlers in use by their path, format and time, with the names of the services of each.
_OURS: dict[_Target, tuple[OutputHandler, list[str]]] = {}
_NOBODYS = OutputHandler()  # of a service whose application configured logging itself
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
        handler: what writes; one that nobody logs to if the application configured logging itself.
    """

    def __init__(self, own: Sequence[str]) -> None:
        self.handler: OutputHandler = _NOBODYS
        self._own = own  # whose level is the service's; its name first
        self._levels: dict[logging.Logger, int] = {}
        self._undo = ExitStack()

    def set_levels(self, level: str | int, levels: Iterable[tuple[str, str]]) -> None:
        """Set the service's level and those of single loggers, in place of all set before.

        Args:
            level: that of the service's own loggers; those of libraries log warnings and worse.
            levels: pairs of a logger's name and its level.
        """
        self._restore_levels()
        if self.handler is _NOBODYS:
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

    def watch(self, observer: Callable[[str], object]) -> None:
        """Have a function called with what is wrong with the output, now and whenever that changes.

        Args:
            observer: gets a sentence, or "" when lines can be written again. It is called by
                the thread that logs, and must not log or block.
        """
        self.handler.observers.append(observer)
        self._undo.callback(self.handler.observers.remove, observer)
        if self.handler.trouble:
            observer(self.handler.trouble)

    def close(self) -> None:
        """Undo `configure`: handlers, filters and levels are as they were. May be called twice."""
        self._restore_levels()
        self._undo.close()
        self.handler = _NOBODYS


def configure(
    name: str,
    *,
    level: str | int = "DEBUG",
    logfile: str | PathLike[str] | None = None,
    format: str = "text",
    time: str | None = None,
    levels: Iterable[tuple[str, str]] = (),
    package: str = "",
    source: str = "--logfile",
    asked: bool = False,
    before: Logging | None = None,
) -> Logging:
    """Set up logging for a service; called by `VService.initLogging`.

    Args:
        name: the service's name, which its loggers begin with.
        level: the least level shown of the service's loggers.
        logfile: a file to append to; None is stderr.
        format: "text" (``LEVEL:Logger:message``) or "json" (an object a line).
        time: whether text lines begin with the time: "always", "never", or None for those of a
            file.
        levels: pairs of a logger's name and its level, which count before all others.
        package: the module of the service's class; its top package's loggers follow ``level`` too.
        source: what named the file, for messages.
        asked: whether somebody gave file, format or time. Then ours takes the place of what an
            application has log to standard output or error; its other handlers stay.
        before: the logging of the instance that this service restarts from; closed without a gap.

    Raises:
        OptionError: the file cannot be written.
    """
    setup = Logging([name, "sparts", *filter(None, [package.partition(".")[0]])])
    if asked or not _handlers_of_others():
        target = (None if logfile is None else abspath(fspath(logfile)), format, time)
        try:
            setup.handler = _acquire(target, name)
        except OSError as exc:
            message = f"{source}: cannot log to {target[0]}: {reason_of(exc)}."
            raise OptionError(message) from exc
        setup._undo.callback(_release, target, name)
    if before is not None:
        before.close()
    secrets, root = SecretFilter(), logging.getLogger()
    for handler in reversed(_handlers_of_others()):  # `close` undoes it in the other order
        if asked and _shows(handler):
            root.removeHandler(handler)
            setup._undo.callback(root.addHandler, handler)
        else:
            handler.addFilter(secrets)
            setup._undo.callback(handler.removeFilter, secrets)
    setup.set_levels(level, levels)
    return setup


def _handlers_of_others() -> list[logging.Handler]:
    """The root logger's handlers that an application gave it, but those that only observe."""
    ours = [handler for handler, _ in _OURS.values()]
    return [
        handler
        for handler in logging.getLogger().handlers
        if handler not in ours and not getattr(handler, "observes", False)
    ]


def _shows(handler: logging.Handler) -> bool:
    """Whether a handler writes to standard output or error."""
    standard = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    stream = getattr(handler, "stream", None)
    return stream is not None and any(stream is each for each in standard)


def _acquire(target: _Target, name: str) -> OutputHandler:
    """The root logger's handler for this target, made if no service has it yet."""
    with _lock:
        if target not in _OURS:
            path, format, time = target
            handler: OutputHandler = StderrHandler()
            if path is not None:
                from sparts.logs.logfile import LogFileHandler

                handler = LogFileHandler(path)
            services: list[str] = []
            timed = path is not None if time is None else time == "always"
            handler.setFormatter(make_formatter(format, services, path is None, timed))
            handler.addFilter(SecretFilter())
            logging.getLogger().addHandler(handler)
            _OURS[target] = handler, services
        _OURS[target][1].append(name)
        return _OURS[target][0]


def _release(target: _Target, name: str) -> None:
    """Take the handler away when its last service has ended."""
    with _lock:
        handler, services = _OURS[target]
        services.remove(name)
        if not services:
            del _OURS[target]
            logging.getLogger().removeHandler(handler)
            handler.close()
