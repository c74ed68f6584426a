"""Calls of thrift methods as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.calls import Call, awaiting, blocking
from sparts.thrift.calls import current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.thrift.handlers import Handler

_NONE: Mapping[str, str] = {}


class ThriftCall(Call):
    """A call of a method; ``arguments`` are the method's."""

    kind = "thrift"

    def __init__(self, task: Any, name: str, arguments: tuple[Any, ...], is_async: bool) -> None:
        self.task: Any = task
        self.name: str = name
        self.arguments: tuple[Any, ...] = arguments
        self.is_async: bool = is_async

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The address of the client; empty: over a Unix socket."""
        caller = current.get()
        return caller.peer if caller is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """Over HTTP, the bearer token as ``authorization``; otherwise thrift has none."""
        caller = current.get()
        return caller.headers if caller is not None else _NONE

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The names of the service and the method."""
        return {"service": self.task.thrift_service.name, "method": self.name}


def wrapped(
    handler: Handler, name: str, function: Callable[..., Any], asynchronous: bool
) -> Callable[..., Any]:
    """Return a handler's method with what wraps its calls around it: itself, if nothing does."""
    wrapper = awaiting(handler) if asynchronous else blocking(handler)
    if wrapper is None:
        return function

    def call(*arguments: Any) -> Any:
        described = ThriftCall(handler, name, arguments, asynchronous)
        return wrapper(described, lambda: function(*arguments))

    return call
