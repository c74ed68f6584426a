"""Errors of RPC as D-Bus has them, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbus_fast import DBusError
from sparts.calls import CallRefusedError, Reason
from sparts.errors import message_of
from sparts.rpc.errors import (
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    UnavailableError,
)
from sparts.tasks.dbus.errors import OURS, STANDARD, error_name

if TYPE_CHECKING:
    from sparts.rpc.interface import Method

_NAMES: dict[type[BaseException], str] = {
    InvalidArgumentsError: STANDARD + "InvalidArgs",
    NoSuchMethodError: STANDARD + "UnknownMethod",
}
_UNKNOWN = tuple(STANDARD + name for name in ("UnknownObject", "UnknownInterface", "UnknownMethod"))
_NOBODY = tuple(STANDARD + name for name in ("ServiceUnknown", "NameHasNoOwner", "Spawn"))
_LOST = tuple(STANDARD + name for name in ("NoReply", "Disconnected"))
_REASONS = {error_name(CallRefusedError(reason)): reason for reason in Reason}


def to_dbus(method: Method, error: BaseException) -> DBusError:
    """Return the D-Bus error of what `sparts.rpc.serving.Served` has raised."""
    if isinstance(error, CallRefusedError):
        return DBusError(error_name(error), message_of(error))
    cls = method.declared(error) or type(error)
    return DBusError(_NAMES.get(cls) or OURS + cls.__name__, message_of(error))


def from_dbus(method: Method, error: DBusError) -> Exception:
    """Return what a caller gets for a D-Bus error."""
    kind, text = error.type, error.text
    if kind in _REASONS:
        return CallRefusedError(_REASONS[kind], text)
    if kind == _NAMES[InvalidArgumentsError]:
        return InvalidArgumentsError(text)
    if kind in _UNKNOWN:
        return NoSuchMethodError(text)
    if kind.startswith(_NOBODY) or kind == OURS + "Stopping":
        return UnavailableError(text, maybe_run="cut off" in text)
    if kind in _LOST:
        return UnavailableError(text)
    name = kind.removeprefix(OURS)
    error_id = text.rpartition(" ")[2] if name == InternalError.__name__ else ""
    return method.error(name, text, error_id)
