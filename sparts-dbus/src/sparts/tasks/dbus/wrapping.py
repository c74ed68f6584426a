"""Calls of exported methods as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sparts.calls import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dbus_fast import Message
    from sparts.calls import Wrapper

    class Method(Protocol):
        """What must be known of a method."""

        label: str
        fn: Callable[..., Any]
        is_async: bool


class DBusCall(Call):
    """A call of a method. ``message`` is dbus-fast's."""

    kind = "dbus"

    def __init__(self, task: Any, message: Message, name: str, is_async: bool) -> None:
        self.task, self.message, self.name, self.is_async = task, message, name, is_async

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The unique name of who calls, such as ``:1.42``."""
        return self.message.sender or ""

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The parts of the message's address."""
        message = self.message
        return {
            "interface": message.interface or "",
            "member": message.member or "",
            "path": message.path or "",
            "sender": message.sender or "",
        }


def wrapped(
    wrapper: Wrapper | None, task: Any, message: Message, method: Method
) -> Callable[..., Any]:
    """Return the function of a method with what wraps calls around it: itself, if nothing does."""
    if wrapper is None:
        return method.fn

    def call(*arguments: Any) -> Any:
        described = DBusCall(task, message, method.label, method.is_async)
        return wrapper(described, lambda: method.fn(*arguments))

    return call
