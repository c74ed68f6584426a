"""What uvicorn's protocols log, and what becomes of what an application raises."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class AppLogger(logging.LoggerAdapter[logging.Logger]):
    """Takes what uvicorn's protocols log, for the logger of the task.

    Below WARNING it drops everything: uvicorn shows there what clients send. uvicorn catches
    whatever an application raises, and logs it: `SystemExit` and `KeyboardInterrupt` end the
    service instead, as they do in every other task.

    Args:
        logger: the task's.
        exit_asked: called with such an exception.
    """

    level = logging.WARNING

    def __init__(self, logger: logging.Logger, exit_asked: Callable[[BaseException], None]) -> None:
        super().__init__(logger)
        self._exit_asked = exit_asked

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message, or end the service."""
        error = kwargs.get("exc_info")
        if error is True:
            error = sys.exc_info()[1]
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._exit_asked(error)
        elif level >= logging.WARNING:
            super().log(level, str(msg).rstrip(), *args, **kwargs)
