"""Errors on a bus, both ways: what a method raises becomes a named D-Bus error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dbus_fast import DBusError
from sparts.calls import CallRefusedError, Reason
from sparts.errors import SpartsError, StartError, type_name
from sparts.tasks.dbus.validity import is_interface_name, is_member_name

if TYPE_CHECKING:
    from dbus_fast import Message

__all__ = ["BusError", "CallTimeoutError", "DBusError", "NameTakenError", "error_name"]

STANDARD = "org.freedesktop.DBus.Error."
OURS = "org.sparts.Error."
LONGEST_WORD = 200
"""Letters of the name of a class that a name of an error may have."""


class BusError(StartError):
    """There is no bus, it refuses something, or it was lost; the message says which and what to
    do.
    """


class NameTakenError(BusError):
    """Somebody else owns the name that the service asks for."""


class NoDescriptorsError(SpartsError):
    """A file descriptor cannot be sent by this connection, or did not come along with a message."""


class CallTimeoutError(SpartsError, TimeoutError):
    """Nobody answered a call within its time."""


_REFUSALS = {
    Reason.UNAUTHENTICATED: STANDARD + "AuthFailed",
    Reason.FORBIDDEN: STANDARD + "AccessDenied",
    Reason.TOO_MANY: STANDARD + "LimitsExceeded",
    Reason.UNAVAILABLE: STANDARD + "NoServer",
}
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

    That is its attribute ``dbus_name`` if an error may have that name; the standard name for some
    of Python's own (``PermissionError`` is ``org.freedesktop.DBus.Error.AccessDenied``); else
    ``org.sparts.Error.`` and the name of its class, with ``_`` for what D-Bus does not allow in it.
    """
    if own := own_name(error):
        return own
    if isinstance(error, CallRefusedError):
        return _REFUSALS[error.reason]
    for kind, known in _NAMES:
        if isinstance(error, kind):
            return known
    word = re.sub("[^A-Za-z0-9_]", "_", type_name(error).strip("_"))[:LONGEST_WORD]
    return OURS + (word if is_member_name(word) else f"_{word}")


def own_name(error: BaseException) -> str:
    """Return the attribute ``dbus_name`` of an exception, or ``""`` if it names no D-Bus error."""
    try:
        name = getattr(error, "dbus_name", None)
    except BaseException:  # whatever else it does, the call is answered
        return ""
    return name if isinstance(name, str) and is_interface_name(name) else ""


def raise_error_of(reply: Message) -> None:
    """Raise a `DBusError` if a reply is an error, also one without a string."""
    if reply.error_name:
        text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else reply.error_name
        raise DBusError(reply.error_name, text, reply)


def refuse_fds(passed: bool) -> None:
    """Raise `NoDescriptorsError` if a connection passes no file descriptors."""
    if not passed:
        raise NoDescriptorsError("this connection passes none: set UNIX_FDS = True on its task")
