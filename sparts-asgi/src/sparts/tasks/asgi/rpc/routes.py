"""Routes: a method with what its path needs, and what HTTP cannot carry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from sparts.calls import CallRefusedError
from sparts.errors import UsageError
from sparts.rpc.errors import InvalidArgumentsError, RPCError
from sparts.rpc.types import Kind
from sparts.rpc.unions import shape_of
from sparts.rpc.values import Values, explain
from sparts.tasks.asgi.rpc.problems import encoded, headers_of, problem_of
from sparts.tasks.asgi.rpc.requests import JSON_TYPE, FromHTTP

if TYPE_CHECKING:
    from sparts.rpc.interface import Method
    from sparts.rpc.serving import Served
    from sparts.rpc.types import Type

SIMPLE = (
    Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.STR, Kind.BYTES, Kind.ENUM, Kind.DATETIME, Kind.DATE,
    Kind.TIMEDELTA, Kind.UUID, Kind.DECIMAL,
)  # fmt: skip
"""What stands in a query as it is; the rest is JSON there."""


JSON_LINE = b"%s: %s\r\n" % JSON_TYPE


class Route:
    """A method, and what its path needs."""

    def __init__(self, served: Served) -> None:
        self.served: Served = served
        self.method: Method = served.method
        self.values: Values
        self.items: Values
        self.values, self.items = values_of(self.method)
        self.allowed = b"GET, HEAD, POST" if self.method.idempotent else b"POST"
        self._simple = {
            each.name
            for each in self.method.parameters
            if (each.type.args[0] if each.type.kind is Kind.OPTIONAL else each.type).kind in SIMPLE
        }

    def answer(self, scope: Any, body: bytes) -> tuple[int, bytes, bytes]:
        """Return the status, the headers and the body of the answer, if the method never waits."""
        try:
            arguments = self.values.read_arguments(body)
            result = self.served.call_now(arguments, FromHTTP, scope)
            try:
                return 200, JSON_LINE, self.values.write_result(result)
            except InvalidArgumentsError as error:
                raise self.served.bad_result(error) from error
        except (RPCError, CallRefusedError) as error:
            problem = problem_of(error, self.method)
            lines = b"".join(b"%s: %s\r\n" % pair for pair in headers_of(problem))
            return problem.status, lines, encoded(problem)

    def written(self, result: Any, item: bool = False) -> bytes:
        """Return the JSON of a result, or of an item of a stream.

        Raises:
            InternalError: it is not of its type; the log has it.
        """
        try:
            return (self.items if item else self.values).write_result(result)
        except InvalidArgumentsError as error:
            raise self.served.bad_result(error) from error

    def from_query(self, query: bytes) -> tuple[Any, ...]:
        """Return the arguments that a query has.

        Raises:
            InvalidArgumentsError: they do not fit.
        """
        given: dict[str, Any] = {}
        try:
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError as error:
            raise InvalidArgumentsError(f"the query cannot be read: {error}") from error
        for name, value in pairs:
            if name in given:
                raise InvalidArgumentsError(f"{name}: given twice")
            try:
                given[name] = value if name in self._simple else msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError) as error:
                raise InvalidArgumentsError(f"{name}: {explain(error)}") from error
        return self.values.arguments_of(given, strict=False)


def values_of(method: Method) -> tuple[Values, Values]:
    """Return what converts arguments and whole results, and arguments and the items of a stream.

    Raises:
        UsageError: JSON cannot carry a type; the message names the parameter.
    """
    try:
        values = Values(method)
        return values, Values(method, items=True) if method.streams else values
    except UsageError as error:
        parts = [(f"parameter {each.name}", each.type) for each in method.parameters]
        for where, type_ in [*parts, ("result", method.result)]:
            if why := refusal(type_):
                what = f"{method.qualified}, {where}: {type_.name}"
                raise UsageError(f"HTTP cannot carry {what}: {why}.") from error
        raise UsageError(f"HTTP cannot carry {method.qualified}: {error}") from error


def refusal(type_: Type) -> str:
    """Return why JSON cannot carry a type, all that it is made of included; empty: it can."""
    try:
        shape, _ = shape_of(type_)
        msgspec.json.Decoder(shape)
    except TypeError as error:
        return str(error).partition("\n")[0].rstrip(".")
    return ""
