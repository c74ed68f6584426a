"""How a task calls methods: in which form, for how long, and without being ended by what they
raise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.counters import SampleType, samples
from sparts.errors import FATAL, call_plain

if TYPE_CHECKING:
    from collections.abc import Callable

_VARARGS = 0x04


def durations() -> samples:
    """Return the counter of how long the calls of ``execute`` took."""
    types = [SampleType.AVG, SampleType.MAX, SampleType.MIN]
    return samples(types, [60, 240], help="How long execute took.", unit="ms")


def fitting(method: Callable[..., Any], most: int) -> Callable[..., Any]:
    """Return what calls a bound method with up to ``most`` arguments, as many as it takes.

    ``execute(self)`` and ``execute(self, context)`` both fit 1. What is no plain function, or one
    that it wraps (`functools.wraps`), is called with all of them.
    """
    function: Any = getattr(method, "__func__", None)
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & _VARARGS or code.co_argcount > most:
        return method
    taken = max(0, code.co_argcount - 1)
    return lambda *arguments: method(*arguments[:taken])


def told(task: Any, method: Callable[..., Any], *args: Any) -> None:
    """Call a method of a task, or of somebody who waits for it, whose failure is only logged.

    What always ends the service (`sparts.errors.FATAL`) does so, but is not raised either.
    """
    try:
        call_plain(method, *args)
    except BaseException as error:  # the rest of an item's or a run's end comes all the same
        name = getattr(method, "__name__", "a callback")
        log_failure(task, error, "%s of %s failed", name, task.name)


def log_failure(task: Any, error: BaseException, text: str, *args: object) -> None:
    """Log an error of what a task has called, and end the service if such an error always does."""
    if isinstance(error, FATAL):
        task._supervisor.end_service(error)
    task.logger.error(text, *args, exc_info=error)
