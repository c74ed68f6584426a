"""Errors on a bus, both ways: what a method raises becomes a named D-Bus error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbus_fast import DBusError
from sparts.errors import SpartsError, StartError, type_name

if TYPE_CHECKING:
    from dbus_fast import Message

__all__ = ["BusError", "CallTimeoutError", "DBusError", "NameTakenError", "error_name"]

STANDARD = "org.freedesktop.DBus.Error."
OURS = "org.sparts.Error."


class BusError(StartError):
    """There is no bus, it refuses something, or it was lost; the message says which and what to
    do.
    """


class NameTakenError(BusError):
    """Somebody else owns the name that the service asks for."""


class NoDescriptorsError(SpartsError):
    """A file descriptor was to be sent by a connection that passes none."""


class CallTimeoutError(SpartsError, TimeoutError):
    """Nobody answered a call within its time."""


_NAMES: tuple[tuple[type[BaseException], str], ...] = (
    (PermissionError, STANDARD + "AccessDenied"),
    (FileNotFoundError, STANDARD + "FileNotFound"),
    (FileExistsError, STANDARD + "FileExists"),
    (TimeoutError, STANDARD + "Timeout"),
    (NotImplementedError, STANDARD + "NotSupported"),
    (MemoryError, STANDARD + "NoMemory"),
)


def error_name(error: BaseException) -> str:
    """Return the D-Bus name for an exception that a method raised.

    That is its attribute ``dbus_name`` if it has one; the standard name for some of Python's own
    (``PermissionError`` is ``org.freedesktop.DBus.Error.AccessDenied``); else ``org.sparts.Error.``
    and the name of its class.
    """
    if own := own_name(error):
        return own
    for kind, known in _NAMES:
        if isinstance(error, kind):
            return known
    return OURS + type_name(error).strip("_")


def own_name(error: BaseException) -> str:
    """Return the attribute ``dbus_name`` of an exception, or ``""`` if it has none that is text."""
    try:
        name = getattr(error, "dbus_name", None)
    except BaseException:  # whatever else it does, the call is answered
        return ""
    return name if isinstance(name, str) else ""


def raise_error_of(reply: Message) -> None:
    """Raise a `DBusError` if a reply is an error, also one without a text."""
    if reply.error_name:
        text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else reply.error_name
        raise DBusError(reply.error_name, text, reply)
