"""``--level``, ``--logfile`` and so on: where a service logs to, and what its lines look like."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar

from sparts import logs
from sparts.builtin import ProcessOptions, fixed
from sparts.hookspecs import hookimpl
from sparts.options import Option, OptionGroup, option
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.vservice import VService


class Logs(ProcessOptions):
    """Options of `logs`."""

    TITLE: ClassVar[str | None] = "logging"

    level: Option[str] = option(
        type=logs.level_name,
        default=lambda cls: cls.DEFAULT_LOGLEVEL,
        metavar="LEVEL",
        help="how much to log: DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    logfile: Option[str] = option(
        default=lambda cls: cls.DEFAULT_LOGFILE,
        metavar="FILE",
        help="log to this file instead of standard error",
        reloadable=False,
    )
    log_format: Option[str] = fixed(
        default="text", choices=logs.FORMATS, help="form of log lines: text or JSON objects"
    )
    log_time: Option[str] = fixed(
        choices=logs.TIMES,
        help="whether text lines begin with the time; without it, those of --logfile do",
    )
    log_level_for: Option[list[logs.LoggerLevel]] = option(
        type=logs.level_for,
        action="append",
        metavar="NAME=LEVEL",
        help="the level of one logger, such as tornado.access=INFO; may be repeated",
        advanced=True,
    )


class _Log:
    """The logging of one instance, and the warning that lines cannot be written."""

    def __init__(self, service: VService) -> None:
        self._service = weakref.ref(service)
        self._warning = 0
        asked = Logs(service)
        self.logging = logs.configure(
            service._instance.name,
            level=asked.level,
            logfile=asked.logfile,
            format=asked.log_format,
            time=asked.log_time,
            levels=asked.log_level_for or (),
            package=type(service).__module__,
            source=asked.source("logfile").name,
            asked=any(asked.source(n).explicit for n in ("logfile", "log_format", "log_time")),
            before=logging_of(service),
        )
        self.logging.watch(self._changed)

    def _changed(self, trouble: str) -> None:
        """Note what is wrong with the log, in the thread that logs, which may hold any lock."""
        if (service := self._service()) is not None:
            ours(service).health.call_later(0.0, lambda: self._warn(service, trouble))

    def _warn(self, service: VService, trouble: str) -> None:
        before = self._warning
        self._warning = ours(service).health.warn(trouble) if trouble else 0
        if before:
            ours(service).clearWarning(before)


def logging_of(service: VService) -> logs.Logging | None:
    """Return the logging of a service; None: this plugin is blocked, or has set up none."""
    log: _Log | None = ours(service).hooks.kept.get("logs")
    return None if log is None else log.logging


@hookimpl
def sparts_options_add() -> type[OptionGroup]:
    """Add the options."""
    return Logs


@hookimpl
def sparts_logging_configure(service: VService) -> Callable[[], object]:
    """Set up logging by the options."""
    ours(service).hooks.kept["logs"] = log = _Log(service)
    return log.logging.close


@hookimpl(tryfirst=True)
def sparts_service_reload(service: VService) -> None:
    """Open the log file again: it may have been moved away."""
    if (logging := logging_of(service)) is not None:
        logging.handler.reopen()


@hookimpl
def sparts_options_change(service: VService, names: frozenset[str]) -> None:
    """Take in changed levels."""
    if (logging := logging_of(service)) is not None and names & {"level", "log_level_for"}:
        asked = Logs(service)
        logging.set_levels(asked.level, asked.log_level_for or ())
