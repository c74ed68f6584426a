"""Errors of calls as HTTP shows them: problem details (RFC 9457), and back."""

from __future__ import annotations

from contextlib import suppress
from math import ceil
from typing import TYPE_CHECKING, Any

import msgspec
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

if TYPE_CHECKING:
    from sparts.rpc.interface import Method
    from sparts.tasks.asgi.rpc.exchange import Response

DECLARED = 409
"""The status of a declared error whose class has no ``http_status``."""
STATUS: dict[type[RPCError], int] = {
    InvalidArgumentsError: 400,
    NoSuchMethodError: 404,
    InternalError: 500,
    UnavailableError: 503,
    DeadlineExceededError: 504,
}
REFUSED = {
    Reason.UNAUTHENTICATED: 401,
    Reason.FORBIDDEN: 403,
    Reason.TOO_MANY: 429,
    Reason.UNAVAILABLE: 503,
}
_REASONS = {status: reason for reason, status in REFUSED.items()}
CONTENT_TYPE = b"application/problem+json"


class Problem(msgspec.Struct, omit_defaults=True):
    """The body of an error response.

    Attributes:
        title: the name of the error's class.
        status: the HTTP status.
        detail: the error's message.
        id: of an internal error: what the server's log has it under.
        reason: of a call that a plugin refuses: why, see `sparts.calls.Reason`.
        retry_after: of such a call: seconds after which the caller may try again.
    """

    title: str
    status: int
    detail: str = ""
    id: str = ""
    reason: str = ""
    retry_after: float | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Problem).decode


def status_of(error: type[RPCError]) -> int:
    """Return the HTTP status of a class of errors."""
    known = STATUS.get(error)
    return known if known is not None else int(getattr(error, "http_status", DECLARED))


def problem_of(error: BaseException, method: Method | None = None) -> Problem:
    """Return the problem that a caller gets for an error."""
    if isinstance(error, CallRefusedError):
        after = error.retry_after
        name, reason = type(error).__name__, error.reason
        return Problem(name, REFUSED[reason], message_of(error), "", str(reason), after)
    cls = (method.declared(error) if method is not None else None) or type(error)
    status = status_of(cls) if issubclass(cls, RPCError) else 500
    return Problem(cls.__name__, status, message_of(error), getattr(error, "id", ""))


def encoded(problem: Problem) -> bytes:
    """Return the body of a response."""
    data: bytes = _encode(problem)
    return data


def headers_of(problem: Problem) -> list[tuple[bytes, bytes]]:
    """Return what headers of a response a problem has, beside those of its body."""
    found = [(b"content-type", CONTENT_TYPE)]
    if problem.status == 401:
        found.append((b"www-authenticate", b"Bearer"))
    if problem.retry_after is not None:
        found.append((b"retry-after", b"%d" % max(1, ceil(problem.retry_after))))
    return found


def error_of(method: Method, response: Response, body: bytes) -> Exception:
    """Return the error that a response means which is no success; for clients."""
    detail = body.decode(errors="replace").strip()[:1000]
    problem = Problem("", response.status, detail, retry_after=response.retry_after)
    if response.content_type.partition(";")[0].strip() == CONTENT_TYPE.decode():
        with suppress(msgspec.DecodeError):
            problem = _decode(body)
    return error_of_problem(method, problem, response.status)


def error_of_problem(method: Method, problem: Problem, status: int) -> Exception:
    """Return the error that a problem means; for clients."""
    if problem.title == CallRefusedError.__name__ or (not problem.title and status in _REASONS):
        reasons = [each for each in Reason if each == problem.reason]
        reason = reasons[0] if reasons else _REASONS.get(status, Reason.FORBIDDEN)
        return CallRefusedError(reason, problem.detail, problem.retry_after)
    if problem.title:
        return method.error(problem.title, problem.detail, problem.id)
    return UnavailableError(f"The server answered with status {status}: {problem.detail}")


def decoded(data: bytes) -> Problem:
    """Return the problem in the data of a stream's last event."""
    try:
        problem: Problem = _decode(data)
    except msgspec.DecodeError:
        problem = Problem("InternalError", 500, data.decode(errors="replace"))
    return problem


def describe(error: Any) -> str:
    """Return the summary of a class of errors: the first line of its docstring."""
    text: str = error.__doc__ or error.__name__
    return text.strip().partition("\n")[0]
