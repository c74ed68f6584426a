"""How calls end: statuses of gRPC for errors of RPC, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.calls import CallRefusedError, Reason
from sparts.errors import message_of
from sparts.rpc.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    RPCError,
    UnavailableError,
)
from sparts.tasks.grpc.serving import REFUSED, RETRY_AFTER, refusal

import grpc

if TYPE_CHECKING:
    from sparts.rpc.clients import OutgoingCall
    from sparts.rpc.interface import Method

ERROR, ERROR_ID = "sparts-error", "sparts-error-id"
"""Trailing metadata: the name of an error, and its id."""
_CODES = {
    InvalidArgumentsError: grpc.StatusCode.INVALID_ARGUMENT,
    NoSuchMethodError: grpc.StatusCode.UNIMPLEMENTED,
    DeadlineExceededError: grpc.StatusCode.DEADLINE_EXCEEDED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    InternalError: grpc.StatusCode.INTERNAL,
}
_NOT_REACHED = ("failed to connect", "DNS resolution failed", "No such file")


def status_of(method: Method, error: Exception) -> tuple[grpc.StatusCode, str, Any]:
    """Return the code, the message and the trailing metadata of an error that `Served` raises.

    What a method declares is FAILED_PRECONDITION.
    """
    if isinstance(error, CallRefusedError):
        return refusal(error)
    name = (method.declared(error) or type(error)).__name__
    trailing = [(ERROR, name)]
    if isinstance(error, InternalError) and error.id:
        trailing.append((ERROR_ID, error.id))
    code = _CODES.get(type(error), grpc.StatusCode.FAILED_PRECONDITION)  # type: ignore[arg-type]
    return code, message_of(error), trailing


def error_of(call: OutgoingCall, failure: Any) -> RPCError | CallRefusedError:
    """Return the error that the end of a call means.

    Args:
        call: the call.
        failure: a `grpc.RpcError`, with the code, the message and the metadata.
    """
    code, details = failure.code(), failure.details() or ""
    trailing = {key: value for key, value in failure.trailing_metadata() or () if value}
    if REFUSED in trailing:
        after = str(trailing.get(RETRY_AFTER, ""))
        seconds = float(after[:10]) if after.isdecimal() else None
        reasons = [each for each in Reason if each == trailing[REFUSED]]
        return CallRefusedError(reasons[0] if reasons else Reason.FORBIDDEN, details, seconds)
    if ERROR in trailing:
        return call.method.error(trailing[ERROR], details, trailing.get(ERROR_ID, ""))
    match code:
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return call.late()
        case grpc.StatusCode.UNAVAILABLE:
            reached = not any(each in details for each in _NOT_REACHED)
            return UnavailableError(details, maybe_run=reached)
        case grpc.StatusCode.UNIMPLEMENTED:
            return NoSuchMethodError(details)
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.RESOURCE_EXHAUSTED:
            return InvalidArgumentsError(details)
        case grpc.StatusCode.UNAUTHENTICATED:
            return CallRefusedError(Reason.UNAUTHENTICATED, details)
        case grpc.StatusCode.PERMISSION_DENIED:
            return CallRefusedError(Reason.FORBIDDEN, details)
        case grpc.StatusCode.CANCELLED:
            return UnavailableError(details or "The call was cancelled.")
    return InternalError(f"{code.name}: {details}")
