"""Calls of exported methods as plugins wrap them: `sparts.calls` says how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sparts.calls import Call, ClientCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dbus_fast import Message
    from sparts.calls import Wrapper
    from sparts.tasks.dbus.bus import Bus

    class Method(Protocol):
        """What must be known of a method."""

        label: str
        fn: Callable[..., Any]
        is_async: bool


_NONE: Mapping[str, str] = {}
_sent: dict[tuple[str, int], Mapping[str, str]] = {}
"""The headers of calls of clients in this process that have no reply yet: by the unique name of the
caller and the number of the message."""


class DBusCall(Call):
    """A call of a method. ``message`` is dbus-fast's."""

    kind = "dbus"

    def __init__(self, task: Any, message: Message, name: str, is_async: bool) -> None:
        self.task: Any = task
        self.message: Message = message
        self.name: str = name
        self.is_async: bool = is_async

    @property
    def peer(self) -> str:  # type: ignore[override]
        """The unique name of who calls, such as ``:1.42``."""
        return self.message.sender or ""

    @property
    def headers(self) -> Mapping[str, str]:  # type: ignore[override]
        """What a client in this process sent along: a message has no headers of its own."""
        return _sent.get((self.message.sender or "", self.message.serial), _NONE)

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """The parts of the message's address."""
        return _parts(self.message)


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


async def exchange_wrapped(wrapper: Wrapper, task: Any, bus: Bus, message: Message) -> Message:
    """Send a call of a client with what wraps such calls around it, and return the reply."""
    attributes = _parts(message)
    name = f"{message.interface}.{message.member}"
    call = ClientCall(task, "dbus", name, is_async=True, attributes=attributes)
    key: list[tuple[str, int]] = []

    def sent(serial: int) -> None:
        key.append((bus.unique_name or "", serial))
        _sent[key[0]] = call.headers

    async def proceed() -> Message:
        try:
            return await bus.exchange(message, sent)
        finally:
            for each in key:
                _sent.pop(each, None)

    reply: Message = await wrapper(call, proceed)
    return reply


def _parts(message: Message) -> dict[str, Any]:
    return {
        "interface": message.interface or "",
        "member": message.member or "",
        "path": message.path or "",
        "sender": message.sender or "",
    }
