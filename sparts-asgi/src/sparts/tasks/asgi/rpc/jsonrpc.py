"""JSON-RPC 2.0, with batches (https://www.jsonrpc.org/specification)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.calls import CallRefusedError
from sparts.rpc.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    RPCError,
    UnavailableError,
)
from sparts.rpc.values import check_weight
from sparts.tasks.asgi.rpc.problems import problem_of

if TYPE_CHECKING:
    from sparts.rpc.served_calls import Origin

PARSE, INVALID = -32700, -32600
DECLARED, REFUSED = -32000, -32003
CODES: Mapping[str, int] = {
    NoSuchMethodError.__name__: -32601,
    InvalidArgumentsError.__name__: -32602,
    InternalError.__name__: -32603,
    DeadlineExceededError.__name__: -32001,
    UnavailableError.__name__: -32002,
    CallRefusedError.__name__: REFUSED,
}
"""The codes of errors; those that a method declares have ``DECLARED``. ``data`` is the problem."""
MOST = 1000
"""Calls that a batch may have."""
_NOTHING = msgspec.Raw(b"{}")


class Request(msgspec.Struct):
    """A call; without an ``id`` it is a notification, which gets no response."""

    jsonrpc: str
    method: str
    params: msgspec.Raw = _NOTHING
    id: str | int | float | msgspec.UnsetType | None = msgspec.UNSET


_encode = msgspec.json.Encoder().encode
_request = msgspec.json.Decoder(Request).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


class JSONRPC:
    """Answers requests.

    Args:
        routes: what is served, by the names of methods: ``Geo.distance``.
    """

    def __init__(self, routes: Mapping[str, Any]) -> None:
        self._routes = routes

    async def answer(self, body: bytes, origin: Origin, deadline: float | None) -> bytes:
        """Return the body of the response; empty: there is none, as for notifications."""
        try:
            check_weight(body)
            msgspec.json.decode(body)
        except InvalidArgumentsError as error:
            return _encode(_failed(None, INVALID, f"Invalid Request: {error}"))
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            return _encode(_failed(None, PARSE, f"Parse error: {error}"))
        if not body.lstrip().startswith(b"["):
            return await self._one(body, origin, deadline)
        calls = _raws(body)
        if not 0 < len(calls) <= MOST:
            text = f"Invalid Request: a batch has 1 to {MOST} calls"
            return _encode(_failed(None, INVALID, text))
        answers = await asyncio.gather(*(self._one(bytes(c), origin, deadline) for c in calls))
        given = [each for each in answers if each]
        return b"[" + b",".join(given) + b"]" if given else b""

    async def _one(self, body: bytes, origin: Origin, deadline: float | None) -> bytes:
        try:
            request = _request(body)
            if request.jsonrpc != "2.0":
                raise msgspec.ValidationError('jsonrpc must be "2.0"')
            if bytes(request.params)[:1] not in (b"{", b"["):
                raise msgspec.ValidationError("params must be an object or an array")
        except msgspec.DecodeError as error:
            return _encode(_failed(_id_of(body), INVALID, f"Invalid Request: {error}"))
        response = await self._response(request, origin, deadline)
        return b"" if request.id is msgspec.UNSET else _encode(response)

    async def _response(
        self, request: Request, origin: Origin, deadline: float | None
    ) -> dict[str, Any]:
        route = self._routes.get(request.method)
        try:
            if route is None:
                raise NoSuchMethodError(f"There is no method {request.method:.200}")
            params = _named(route, bytes(request.params))
            arguments = route.values.read_arguments(params)
            result = route.written(await route.served.call(arguments, origin, deadline))
        except (RPCError, CallRefusedError) as error:
            problem = problem_of(error, route.method if route is not None else None)
            code = CODES.get(problem.title, DECLARED)
            return _failed(request.id, code, problem.detail, problem)
        return {"jsonrpc": "2.0", "id": request.id, "result": msgspec.Raw(result)}


def _failed(id_: Any, code: int, message: str, data: Any = None) -> dict[str, Any]:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": id_, "error": error}


def _named(route: Any, params: bytes) -> bytes:
    """Return arguments as an object, which may be given as an array."""
    if not params.lstrip().startswith(b"["):
        return params
    values, names = _raws(params), route.method.names
    if len(values) > len(names):
        text = f"{route.method.qualified} got arguments: {len(values)}, and takes {len(names)}"
        raise InvalidArgumentsError(text)
    return bytes(_encode(dict(zip(names, values, strict=False))))


def _id_of(body: bytes) -> Any:
    found = msgspec.json.decode(body)
    known = found.get("id") if isinstance(found, dict) else None
    return known if type(known) in (str, int, float) else None
