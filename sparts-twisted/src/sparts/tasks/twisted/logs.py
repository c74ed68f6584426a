"""Twisted's log, handed on to the standard library's logging.

An event goes to the logger of its namespace (``twisted.internet.tcp.Port``, or whatever made it;
``twisted`` for the old log), at the level of the same name. A failure that Twisted caught because
nothing else did goes to the reactor task.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from twisted.logger import (
    ILogObserver,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}
_OLD = "log_legacy"
_DEFERRED = "twisted.internet.defer"


@implementer(ILogObserver)
class LogBridge:
    """Hands Twisted's log on, from `begin` to `end`.

    Args:
        uncaught: called with each failure that only Twisted caught, and what it was doing.
    """

    def __init__(self, uncaught: Callable[[Failure, str], None]) -> None:
        self._uncaught = uncaught
        self._before: Any = None
        self._publisher: Any = globalLogPublisher

    def begin(self) -> None:
        """Begin; what prints Twisted's log until somebody asks for it is silent meanwhile."""
        self._before = globalLogBeginner._temporaryObserver
        if self._before is not None:
            self._publisher.removeObserver(self._before)
        self._publisher.addObserver(self)

    def end(self) -> None:
        """End; Twisted's log is as it was."""
        self._publisher.removeObserver(self)
        if self._before is not None and globalLogBeginner._temporaryObserver is self._before:
            self._publisher.addObserver(self._before)
        self._before = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event; called by Twisted in any thread."""
        namespace = event.get("log_namespace") or _OLD
        failure = event.get("log_failure") or event.get("failure")
        level = event.get("log_level", LogLevel.info)
        if failure is not None and level is LogLevel.critical and _is_of_twisted(namespace):
            what = event.get("why") or ("" if namespace == _OLD else formatEvent(event))
            headline = (
                "Unhandled error in Deferred" if namespace == _DEFERRED else "Unhandled error"
            )
            self._uncaught(failure, what or headline)
            return
        if namespace == _DEFERRED and level is LogLevel.critical:
            return  # the headline of a failure that comes next
        logger = logging.getLogger("twisted" if namespace == _OLD else namespace)
        number = _LEVELS.get(level, logging.INFO)
        if logger.isEnabledFor(number):
            logger.log(number, "%s", _text(event, failure), exc_info=exc_info(failure))


def _is_of_twisted(namespace: str) -> bool:
    return namespace == _OLD or namespace.partition(".")[0] == "twisted"


def _text(event: dict[str, Any], failure: Failure | None) -> str:
    if failure is not None and event.get("log_namespace") == _OLD:  # whose text has the traceback
        return str(event.get("why") or failure.getErrorMessage())
    return formatEvent(event)


def exc_info(failure: Failure | None) -> Any:
    """Return a failure as `logging` takes it."""
    if failure is None:
        return None
    return (failure.type, failure.value, failure.getTracebackObject())
