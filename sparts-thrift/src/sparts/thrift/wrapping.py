"""Calls of thrift methods as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from sparts.calls import Call, awaiting, blocking
from sparts.thrift.calls import current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.thrift.handlers import Handler

_NONE: Mapping[str, str] = {}


class ThriftCall(partial[Any], Call):
    """A call of a method; ``arguments`` are the method's.

    It is its own ``proceed``, and each method has a class of its own, which holds what is the same
    for all calls: made so, a call costs 0.25 us, and 0.35 us with an object and a closure for each.
    """

    kind = "thrift"
    __init__: Any = object.__init__
    __repr__: Any = Call.__repr__

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the method is called with."""
        return self.args

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client; empty: over a Unix socket."""
        caller = current.get()
        return caller.peer if caller is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """Over HTTP, the bearer token as ``authorization``; else those of a client of ours that is
        in this process.
        """
        caller = current.get()
        return caller.headers if caller is not None else _NONE

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The names of the service and the method."""
        return {"service": self.task.thrift_service.name, "method": self.name}


def wrapped(
    handler: Handler, name: str, function: Callable[..., Any], asynchronous: bool, count: int
) -> Callable[..., Any]:
    """Return a handler's method with what wraps its calls around it: itself, if nothing does.

    Args:
        handler: the task that it belongs to.
        name: of the method.
        function: what implements it.
        asynchronous: whether it is awaited.
        count: how many arguments it is called with.
    """
    wrapper = awaiting(handler) if asynchronous else blocking(handler)
    if wrapper is None:
        return function
    if isinstance(function, partial):  # a call would take it apart, and have its arguments, too
        inner = function
        function = lambda *values: inner(*values)  # noqa: E731
    about = {"task": handler, "name": name, "is_async": asynchronous}
    made = type(ThriftCall.__name__, (ThriftCall,), about)
    names = "".join(f"value{number}, " for number in range(count))
    # What a wrapper sets is not for the next call of the thread; a coroutine has a task of its own.
    run = "wrapper(" if asynchronous else "context().run(wrapper, "
    code = f"lambda {names}: {run}call := made(function, {names}), call)"
    known = {"wrapper": wrapper, "made": made, "function": function, "context": copy_context}
    return eval(code, known)  # type: ignore[no-any-return]  # noqa: S307 - of names made here
