"""Calls of a handler's methods: from the bytes of a message to those of its answer.

An exception that the IDL declares for a method goes to the client as it is; of any other the client
learns that there was one, and the log has the rest.
"""

from __future__ import annotations

import inspect
from asyncio import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from sparts.calls import CallRefusedError
from sparts.counters import own
from sparts.errors import describe, message_of
from sparts.net.coroutines import is_cancelled
from sparts.thrift.calls import current
from sparts.thrift.defaults import unsharer
from sparts.thrift.weight import Weight
from sparts.thrift.wire import (
    BINARY,
    CALL,
    COMPACT,
    EXCEPTION,
    ONEWAY,
    REPLY,
    Wire,
    read_header,
)
from sparts.thrift.wrapping import Wrapped, calling, wrapper_of

from thrift.Thrift import TApplicationException, TType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sparts.thrift.calls import Caller
    from sparts.thrift.handlers import Handler
    from sparts.thrift.interfaces import MethodSpec

ERROR_SPEC: list[Any] = [
    TApplicationException,
    (
        None,
        (1, TType.STRING, "message", "UTF8", None),
        (2, TType.I32, "type", None, None),
    ),
]

SLOW = 0.2
"""Milliseconds."""

NOTHING = b""
"""The answer to a call whose caller does not wait for one."""


Outcome: TypeAlias = tuple[int, Any, Any]
"""What came of a call: a message's kind, the struct that it holds, and what that is made of."""


class RefusedError(Exception):
    """A message that is not a call of any method, and the answer that says so.

    Args:
        why: for the log.
        answer: the whole frame to send; empty: nobody waits for one.
    """

    def __init__(self, why: str, answer: bytes) -> None:
        super().__init__(why)
        self.answer = answer


class Served:
    """What servers call: a method, from the struct of its arguments to the frame of its answer.

    Args:
        handler: the task that it belongs to.
        spec: what it takes and gives.
        asynchronous: whether it is awaited, on the loop of the handler.
    """

    unshare: Callable[[Any], object] | None = None
    """Gives arguments that were read their own copies of the defaults, or raises if something is
    missing in them; None: there is nothing to do."""
    slow = False
    """Whether its last call took so long that other clients should not wait for the next."""

    def __init__(self, handler: Any, spec: MethodSpec, asynchronous: bool) -> None:
        self.handler = handler
        self.spec = spec
        self.name: bytes = spec.name.encode()
        self.asynchronous = asynchronous
        self.inline: Any | bool = handler.INLINE and not asynchronous
        self.oneway: bool = spec.result is None
        self.new_arguments: Callable[[], Any]
        self.arguments_spec: Any
        self.new_arguments, self.arguments_spec = light(spec.arguments, spec.arguments_spec)
        self._new_result, self._result_spec = light(spec.result, spec.result_spec)
        self.weight: Weight = Weight(spec.arguments, spec.arguments_spec)
        """What its arguments cost in memory."""

    def run(self, wire: Wire, sequence: bytes, arguments: Any) -> bytes:
        """Call the method in this thread, and return the frame to send."""
        raise NotImplementedError

    async def run_async(
        self, wire: Wire, sequence: bytes, arguments: Any, caller: Caller | None
    ) -> bytes:
        """Await the method, and return the frame to send."""
        raise NotImplementedError

    def failed(self, wire: Wire, sequence: bytes) -> bytes:
        """Return the frame that says that the call was not made."""
        return self._answer(wire, sequence, self.internal_error())

    def refused(self, wire: Wire, sequence: bytes) -> bytes:
        """Return the frame that says that there is no memory for the call now."""
        message = f"{self.spec.name} was not called: the server has no memory left for it now"
        outcome = failure(TApplicationException.INTERNAL_ERROR, message)
        return self._answer(wire, sequence, outcome)

    def unreadable(self, error: Exception, wire: Wire, data: bytes) -> tuple[int, str]:
        """Return the type and the message of the answer to arguments that cannot be read."""
        why = f"the arguments of {self.spec.name} cannot be read ({describe(error)})"
        return TApplicationException.PROTOCOL_ERROR, why

    def internal_error(self) -> Outcome:
        """Return what a client learns of an exception that its IDL does not declare."""
        message = f"{self.spec.name} failed: internal error"
        return failure(TApplicationException.INTERNAL_ERROR, message)

    def cannot_write(self, error: Exception) -> Outcome:
        """Return what a client learns when what was returned is not what the IDL says."""
        raise NotImplementedError

    def _answer(self, wire: Wire, sequence: bytes, outcome: Outcome) -> bytes:
        if self.oneway:
            return NOTHING
        kind, struct, spec = outcome
        try:
            body = wire.write_struct(struct, spec)
        except Exception as error:
            kind, struct, spec = self.cannot_write(error)
            body = wire.write_struct(struct, spec)
        return wire.frame(kind, self.name, sequence, body)


class Method(Served):
    """A method of a handler."""

    def __init__(self, handler: Handler, spec: MethodSpec, function: Any) -> None:
        super().__init__(handler, spec, inspect.iscoroutinefunction(function))
        self.function: Callable[..., Any] = function
        self._call: Callable[[Any], Any]
        wrapper = wrapper_of(handler, self.asynchronous)
        if wrapper is None:
            self._call = self._call_struct = calling(function, spec.parameters, self.asynchronous)
        else:
            self._wrap(Wrapped(wrapper, handler, spec, function, self.asynchronous))
        self.unshare: Callable[[Any], object] | None = unsharer(spec.arguments, spec.arguments_spec)
        self._returns = spec.returns
        self._told = False
        self._count = own(handler, type(handler).n_calls).labels(spec.name).increment
        self._took = own(handler, type(handler).call_duration_ms).labels(spec.name).add
        self._count_error = own(handler, type(handler).n_errors).labels(spec.name).increment

    def _wrap(self, around: Wrapped) -> None:
        """Have arguments be read into calls as they are wrapped, where C code can do that."""
        self._call = self._call_struct = around.run_struct
        if self.new_arguments is not self.spec.arguments:
            self.new_arguments: Callable[[], Any] = around.made
            spec = around.spec(self.spec.arguments_spec)
            self.arguments_spec: Any = [around.made, spec]
            self._call = around.run

    def run(self, wire: Wire, sequence: bytes, arguments: Any) -> bytes:
        """Call the method in this thread, and return the frame to send."""
        self._count()
        began = monotonic()
        try:
            value = self._call(arguments)
        except BaseException as error:
            return self._answer(wire, sequence, self._failed(error))
        finally:
            took = (monotonic() - began) * 1000.0
            self.slow: bool = took > SLOW
            self._took(took)
        if self.oneway:
            return NOTHING
        if value is None and self._returns:
            self._missed()
        result = self._new_result()
        result.success = value
        try:
            body = wire.write_struct(result, self._result_spec)
        except Exception as error:
            return self._answer(wire, sequence, self.cannot_write(error))
        return wire.frame(REPLY, self.name, sequence, body)

    async def run_async(
        self, wire: Wire, sequence: bytes, arguments: Any, caller: Caller | None
    ) -> bytes:
        """Await the method, and return the frame to send."""
        current.set(caller)
        outcome = await self._outcome(self._call, arguments)
        return self._answer(wire, sequence, outcome)

    def invoke(self, arguments: Any) -> Outcome:
        """Call the method in this thread, and return what came of it.

        ``arguments`` are a struct of the make that the service is of.
        """
        self._count()
        began = monotonic()
        try:
            return self._succeeded(self._call_struct(arguments))
        except BaseException as error:
            return self._failed(error)
        finally:
            self._took((monotonic() - began) * 1000.0)

    async def invoke_async(self, arguments: Any) -> Outcome:
        """Await the method, and return what came of it; see `invoke`."""
        return await self._outcome(self._call_struct, arguments)

    async def _outcome(self, call: Callable[[Any], Any], arguments: Any) -> Outcome:
        self._count()
        began = monotonic()
        try:
            return self._succeeded(await call(arguments))
        except BaseException as error:
            if isinstance(error, CancelledError) and is_cancelled():
                raise
            return self._failed(error)
        finally:
            self._took((monotonic() - began) * 1000.0)

    def _missed(self) -> None:
        """Note that the method returned nothing: to its client, the result is missing."""
        self._count_error()
        if not self._told:
            self._told = True
            self.handler.logger.error(
                "%s returned None, which is no value of its type: is a `return` missing? "
                "(n_errors counts how often; this is logged once)",
                self.spec.name,
            )

    def _succeeded(self, value: Any) -> Outcome:
        if value is None and self._returns and not self.oneway:
            self._missed()
        result = self._new_result()
        result.success = value
        return REPLY, result, self._result_spec

    def _failed(self, error: BaseException) -> Outcome:
        self._count_error()
        for name, kind in self.spec.errors:
            if isinstance(error, kind):
                result = self._new_result()
                setattr(result, name, error)
                return REPLY, result, self._result_spec
        if isinstance(error, TApplicationException):
            return EXCEPTION, error, ERROR_SPEC
        if isinstance(error, CallRefusedError):
            return failure(TApplicationException.UNKNOWN, f"{self.spec.name}: {message_of(error)}")
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.handler.supervisor.end_service(error)
        else:
            self.handler.logger.error("%s failed", self.spec.name, exc_info=error)
        return self.internal_error()

    def cannot_write(self, error: Exception) -> Outcome:
        """Return what a client learns when what was returned is not what the IDL says."""
        self._count_error()
        self.handler.logger.error(
            "%s returned what is not of its type", self.spec.name, exc_info=error
        )
        return self.internal_error()


Call: TypeAlias = tuple[Served, Wire, bytes, Any, int]
"""A call that was read: its method, the arguments of `Method.run`, and the bytes of memory that the
call takes at the most."""

MAX_DECODED = 1 << 27
"""Bytes of memory that the arguments of one call may take, unless a server sets another limit."""
_LIGHT = 1 << 16
"""Bytes of memory up to which nobody looks how many it is."""


class Router:
    """Finds out which method a message calls.

    Args:
        methods: by their names as they stand in messages.
        services: the names of the services that a multiplexed message may name.
        max_decoded: bytes of memory that the arguments of one call may take once decoded.
    """

    def __init__(
        self,
        methods: Mapping[bytes, Served],
        services: Iterable[str] = (),
        max_decoded: int = MAX_DECODED,
    ) -> None:
        self.methods: dict[bytes, Served] = dict(methods)
        self.max_decoded = max_decoded
        self.services: tuple[str, ...] = tuple(services)
        self._last: tuple[bytes, Served | None] = (b"", None)
        """The last binary call: its bytes up to the sequence number, and its method. The next has
        mostly the same, and is read sooner so.
        """

    def read(self, data: bytes, start: int, end: int) -> Call:
        """Return the call that lies in a message.

        Raises:
            WireError: it is no message.
            RefusedError: it calls nothing that there is.
        """
        wire: Wire = BINARY
        head, method = self._last
        body = start + len(head) + 4
        if method is not None and body <= end and data.startswith(head, start):
            kind, name, sequence = CALL, method.name, data[body - 4 : body]
        else:
            wire, kind, name, sequence, body = read_header(data, start, end)
            method = self.methods.get(name)
            if wire is BINARY and kind == CALL and method is not None:
                self._last = data[start : body - 4], method
        if method is None:
            what, why = TApplicationException.UNKNOWN_METHOD, self.explain(name)
        elif kind not in (CALL, ONEWAY):
            what, why = TApplicationException.INVALID_MESSAGE_TYPE, f"{kind} is no type of a call"
        else:
            arguments = method.new_arguments()
            cost = (end - body) * method.weight.factor
            try:
                if cost > _LIGHT and (method.asynchronous or cost > self.max_decoded):
                    cost = method.weight.of(data[body:end], wire is COMPACT, self.max_decoded)
                wire.read_struct(arguments, method.arguments_spec, data[body:end])
                if method.unshare is not None:
                    method.unshare(arguments)
            except Exception as error:
                what, why = method.unreadable(error, wire, data[body:end])
            else:
                return method, wire, sequence, arguments, cost
        if unheard(kind, method):
            raise RefusedError(why, NOTHING)
        _, struct, spec = failure(what, why)
        name = name if method is None else method.name
        body_of_answer = wire.write_struct(struct, spec)
        raise RefusedError(why, wire.frame(EXCEPTION, name, sequence, body_of_answer))

    def explain(self, name: bytes) -> str:
        """Return why no method is found by a name."""
        text = name.decode(errors="replace")[:200]
        service, colon, _ = text.partition(":")
        if not self.services:
            return f"there is no method {text!r}"
        there = ", ".join(self.services)
        if not colon:
            return f"the call of {text!r} names no service; there are {there}"
        if service not in self.services:
            return f"there is no service {service!r}, but {there}"
        return f"there is no method {text!r}"


def unheard(kind: int, method: Served | None) -> bool:
    """Return whether nobody waits for the answer to a message: it would be taken for another's."""
    return kind == ONEWAY or (kind == CALL and method is not None and method.oneway)


def failure(kind: int, message: str) -> Outcome:
    """Return the outcome that is an exception of the thrift library's own."""
    return EXCEPTION, TApplicationException(kind, message), ERROR_SPEC


def light(struct: Any, spec: Any) -> tuple[Callable[[], Any], Any]:
    """Return what makes a struct, and what Apache's C code has to know of it.

    That code takes any object with the right attributes. One that has only these is made faster.
    """
    if struct is None:
        return _Nothing, None
    if spec is None:
        return struct, None
    fields = {field[2]: field[4] for field in spec if field is not None}
    if any(default is not None for default in fields.values()):
        return struct, [struct, spec]
    light = type(struct.__name__, (), fields)
    return light, [light, spec]


class _Nothing:
    """The result of what gives none."""
