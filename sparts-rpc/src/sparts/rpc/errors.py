"""Errors of calls: those that a service declares, and those that every call may end with.

What a caller meets is one of these, or `sparts.calls.CallRefusedError` where a plugin has refused
the call. Clients raise the same classes as the server.
"""

from __future__ import annotations

from sparts.errors import SpartsError, text_of


class RPCError(SpartsError):
    """An error that a method declares: derive from it, and raise it for the caller.

    Each subclass in the module of an `RPCTask`'s class is declared for all of the task's methods;
    ``@rpc(raises=[...])`` narrows that. ``str(error)`` is the message, here and at the caller;
    without one, it is the first line of the class's docstring.
    """

    def __init__(self, message: str = "") -> None:
        first_line = (type(self).__doc__ or "").strip().partition("\n")[0]
        super().__init__(text_of(message) or first_line or type(self).__name__)


class StandardError(RPCError):
    """Base of the errors that every method may end with, and no service declares."""


class InvalidArgumentsError(StandardError):
    """The arguments, or the result, do not fit the method; the message names the path."""


class NoSuchMethodError(StandardError):
    """The server has no such method."""


class DeadlineExceededError(StandardError):
    """The call took longer than the caller or the method allows."""


class UnavailableError(StandardError):
    """The server cannot be reached, or it stops. The method may have run, see ``maybe_run``.

    Attributes:
        maybe_run: whether the method may have been called; False: it certainly was not.
    """

    def __init__(self, message: str = "", maybe_run: bool = True) -> None:
        super().__init__(message)
        self.maybe_run = maybe_run


class InternalError(StandardError):
    """The method raised what it does not declare; the server's log has it under ``id``.

    Attributes:
        id: the id of the failure, which the message holds too; empty: unknown.
    """

    def __init__(self, message: str = "", id: str = "") -> None:
        super().__init__(message or (f"internal error {id}" if id else "internal error"))
        self.id = id


STANDARD: dict[str, type[StandardError]] = {
    each.__name__: each for each in StandardError.__subclasses__()
}
"""The standard errors by their names, which transports send."""
