"""Methods of `RPCTask` tasks, as thrift servers call them."""

from __future__ import annotations

from contextvars import copy_context
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.calls import CallRefusedError
from sparts.errors import message_of
from sparts.rpc.errors import (
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    UnavailableError,
)
from sparts.thrift.calls import current
from sparts.thrift.interfaces import MethodSpec
from sparts.thrift.processor import SLOW, Served, failure
from sparts.thrift.rpc.messages import CONTEXT, NotWrittenError
from sparts.thrift.rpc.paths import explain_arguments
from sparts.thrift.wire import REPLY

from thrift.Thrift import TApplicationException

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sparts.rpc.served_calls import Origin
    from sparts.rpc.serving import Served as Called
    from sparts.thrift.calls import Caller
    from sparts.thrift.processor import Outcome
    from sparts.thrift.rpc.messages import Messages
    from sparts.thrift.wire import Wire

KINDS: Mapping[type[BaseException], int] = {
    InvalidArgumentsError: TApplicationException.PROTOCOL_ERROR,
    NoSuchMethodError: TApplicationException.UNKNOWN_METHOD,
    InternalError: TApplicationException.INTERNAL_ERROR,
}
"""The types of Apache's exceptions for errors that no IDL declares; others are UNKNOWN."""


class RPCOrigin:
    """Where a call of a client of ours comes from, with the headers that it has sent."""

    def __init__(self, caller: Caller | None, headers: Mapping[str, str]) -> None:
        self.peer: str = caller.peer if caller is not None else ""
        self.headers: dict[str, str] = {name.lower(): each for name, each in headers.items()}


class RPCMethod(Served):
    """A method of an `RPCTask`.

    Args:
        called: what calls it, counts and wraps.
        messages: its messages.
    """

    def __init__(self, called: Called, messages: Messages) -> None:
        names = tuple(each.name for each in called.method.parameters)
        spec = MethodSpec(
            messages.name, names, object, messages.arguments_spec, object, messages.result_spec,
            (), messages.result is not None,
        )  # fmt: skip
        super().__init__(called.task, spec, called.method.is_async)
        self.new_arguments: Callable[[], Any] = messages.new_arguments
        self.arguments_spec: Any = messages.arguments_held
        self.unshare: Callable[[Any], object] | None = messages.look
        self.called: Called = called
        self.messages: Messages = messages
        self._call, self._values = called.call_here, messages.values
        self._success = messages.success
        self._as_written = messages.result is not None and messages.result.write is None

    def run(self, wire: Wire, sequence: bytes, arguments: Any) -> bytes:
        """Call the method in this thread, and return the frame to send."""
        try:
            values = self._values(arguments)
            if getattr(arguments, CONTEXT) is None:
                value = copy_context().run(self._call, values, current.get())
            else:
                about = self._about(arguments, current.get())
                value = copy_context().run(self._call, values, *about)
        except BaseException as error:
            return self._answer(wire, sequence, self._failed(error))
        finally:
            self.slow: bool = self.called.took > SLOW
        try:
            if self._as_written:
                result = self._new_result()
                result.success = value
            else:
                result = self._success(value)
            body = wire.write_struct(result, self._result_spec)
        except Exception as error:
            return self._answer(wire, sequence, self.cannot_write(error))
        return wire.frame(REPLY, self.name, sequence, body)

    async def run_async(
        self, wire: Wire, sequence: bytes, arguments: Any, caller: Caller | None
    ) -> bytes:
        """Await the method, and return the frame to send."""
        current.set(caller)
        try:
            values = self._values(arguments)
            value = await self.called.call(values, *self._about(arguments, caller))
            outcome = REPLY, self._success(value), self._result_spec
        except Exception as error:
            outcome = self._failed(error)
        return self._answer(wire, sequence, outcome)

    def unreadable(self, error: Exception, wire: Wire, data: bytes) -> tuple[int, str]:
        """Return the type and the message of the answer to arguments that cannot be read."""
        if isinstance(error, AttributeError) and type(error.obj) is self.new_arguments:
            text = _missing(error)
        else:
            text = explain_arguments(error, wire, data, self.messages.arguments_spec)
        return KINDS[InvalidArgumentsError], f"{InvalidArgumentsError.__name__}: {text}"

    def cannot_write(self, error: Exception) -> Outcome:
        """Return what a client learns when what was returned is not of its type."""
        return said(self.called.bad_result(error))

    def internal_error(self) -> Outcome:
        """Return what a client learns when the loop has ended before the method has."""
        return said(UnavailableError(f"{self.called.task.name} stops"))

    @staticmethod
    def _about(arguments: Any, caller: Caller | None) -> tuple[Origin | None, float | None]:
        """Return where a call comes from, and its deadline."""
        if (context := getattr(arguments, CONTEXT)) is None:
            return caller, None
        left, headers = context
        return RPCOrigin(caller, headers), None if left is None else monotonic() + left

    def _failed(self, error: BaseException) -> Outcome:
        if type(error) is AttributeError:  # of `Messages.values`: methods raise InternalError
            error = InvalidArgumentsError(_missing(error))
        if isinstance(error, NotWrittenError):
            return self.cannot_write(error)
        declared = self.called.method.declared(error)
        if declared is not None and declared.__name__ in self.called.method.errors:
            struct = self.messages.failure(declared.__name__, message_of(error))
            return REPLY, struct, self._result_spec
        return said(error)


def _missing(error: AttributeError) -> str:
    """Return the message of an argument that was not given."""
    return f"{error.name}: it is missing, or not of its type"


def said(error: BaseException) -> Outcome:
    """Return the outcome that is an error which no IDL declares: its name, and its message."""
    name = error.reason.name if isinstance(error, CallRefusedError) else type(error).__name__
    kind = KINDS.get(type(error), TApplicationException.UNKNOWN)
    return failure(kind, f"{name}: {message_of(error)}")
