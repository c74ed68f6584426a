"""Calls and answers as messages.

A call is an item (see `sparts.tasks.amqp.messages`) of the queue ``rpc.NAME``, NAME being the
interface's. Its body is ``{"method": "distance", "arguments": {...}, "timeout": 2.5}``; the time in
seconds may be absent. The answer is the item's outcome: ``{"value": ...}``; or an ``error``, which
is the name of the error's class, with its ``message`` and, of an internal error, its ``id``; or
``refused``, which is why a plugin refuses the call, with ``message`` and ``retry_after``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from sparts.calls import CallRefusedError, Reason
from sparts.errors import message_of
from sparts.rpc.errors import InternalError, InvalidArgumentsError
from sparts.tasks.amqp.topology import QueueLayout

if TYPE_CHECKING:
    from sparts.rpc.interface import Method
    from sparts.rpc.values import Values

MAX_BYTES = 64 * 1024 * 1024
"""How large a call may be."""
DELIVERY_LIMIT = 3
"""How often the call of an idempotent method comes again whose process has ended."""


class Call(msgspec.Struct):
    """The body of a call."""

    method: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")
    timeout: float | None = None


class Answer(msgspec.Struct, omit_defaults=True):
    """The result of an item that is a call."""

    value: msgspec.Raw = msgspec.Raw()
    error: str = ""
    refused: str = ""
    message: str = ""
    id: str = ""
    retry_after: float | None = None


_decode_call = msgspec.json.Decoder(Call).decode
_decode_answer = msgspec.json.Decoder(Answer).decode
_encode = msgspec.json.encode


def layout_of(interface: str) -> QueueLayout:
    """Return the queue for the calls of an interface."""
    return QueueLayout(f"rpc.{interface}", delivery_limit=DELIVERY_LIMIT, drops=True)


def read_call(body: bytes) -> Call:
    """Return the call that a message holds.

    Raises:
        InvalidArgumentsError: it holds none.
    """
    try:
        return _decode_call(body)
    except msgspec.MsgspecError as error:
        raise InvalidArgumentsError(f"The message is no call: {error}") from error


def write_call(method: Method, arguments: bytes, timeout: float | None) -> bytes:
    """Return the body of a call."""
    return _encode(Call(method.name, msgspec.Raw(arguments), timeout))


def answer_of(value: bytes) -> bytes:
    """Return the answer with a value."""
    return b'{"value":' + value + b"}"


def answer_of_error(error: Exception, method: Method | None) -> bytes:
    """Return the answer with an error that `sparts.rpc.serving.Served` raises."""
    if isinstance(error, CallRefusedError):
        after = error.retry_after
        return _encode(Answer(refused=error.reason, message=message_of(error), retry_after=after))
    declared = method.declared(error) if method is not None else None
    name = (declared or type(error)).__name__
    error_id = error.id if isinstance(error, InternalError) else ""
    return _encode(Answer(error=name, message=message_of(error), id=error_id))


def read_answer(data: bytes, method: Method, values: Values) -> Any:
    """Return the value of an answer, or raise its error."""
    try:
        answer = _decode_answer(data)
    except msgspec.MsgspecError as error:
        raise InternalError(f"The answer cannot be read: {error}") from error
    if answer.refused:
        raise CallRefusedError(Reason(answer.refused), answer.message, answer.retry_after)
    if answer.error:
        raise method.error(answer.error, answer.message, answer.id)
    return values.read_result(bytes(answer.value))
