"""The forms of methods that a task calls: what does not look at an argument may leave it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_VARARGS = 0x04


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
