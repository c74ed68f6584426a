"""RPCGrpcTask: serves the RPC tasks of a service over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from google.protobuf.message import DecodeError, EncodeError
from sparts.calls import CallRefusedError
from sparts.rpc.errors import InvalidArgumentsError, RPCError
from sparts.rpc.transport import RPCTransport
from sparts.rpc.values import WRONG
from sparts.tasks.grpc.rpc.codecs import built, read_column
from sparts.tasks.grpc.rpc.schema import Messages, Schema, method_refusal, refusal
from sparts.tasks.grpc.rpc.statuses import status_of
from sparts.tasks.grpc.task import GrpcTask

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparts.rpc.interface import Method
    from sparts.rpc.serving import Served
    from sparts.rpc.types import Type


class RPCGrpcTask(RPCTransport, GrpcTask):
    """Serves the methods of the service's `RPCTask` tasks over gRPC: see docs/rpc.

    The name of a gRPC service is that of the task, without a package. ``sparts rpc idl --proto``
    prints the file from which clients in other languages are made.
    """

    OPT_PREFIX: ClassVar[str | None] = "rpc-grpc"
    TRANSPORT: ClassVar[str] = "gRPC"
    DEFAULT_PORT: ClassVar[int] = 50061
    MAX_MESSAGE: ClassVar[int] = 64 * 1024 * 1024

    def refuse(self, method: Method, where: str, type_: Type) -> str:
        """Return why protobuf cannot carry a type, if so."""
        return refusal(type_)

    def refuse_method(self, method: Method) -> str:
        """Return why protobuf cannot have a method, if so."""
        return method_refusal(method)

    def add_to_server(self, server: Any) -> None:
        """Add the services; called once, in `initTask`."""
        for name, methods in self.find_served().items():
            schema = schema_of(methods)
            handlers = {
                key: handler_of(each, schema.methods[each.method.qualified])
                for key, each in methods.items()
            }
            server.add_service(name, handlers, schema.pool)

    def check(self) -> None:
        """See whether all methods can be carried."""
        super().check()
        for methods in self.find_served().values():
            schema_of(methods)


def schema_of(served: Mapping[str, Served]) -> Schema:
    """Return the file of what a task serves."""
    return Schema(next(iter(served.values())).task.interface())


class Origin:
    """Where a call comes from."""

    def __init__(self, context: Any) -> None:
        self._context = context

    @property
    def peer(self) -> str:
        """The address of the caller, without a port."""
        return str(self._context.call.connection.peer.host)

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The metadata that are strings."""
        metadata = self._context.invocation_metadata()
        return {key: value for key, value in metadata if isinstance(value, str)}


def handler_of(served: Served, messages: Messages) -> Any:
    """Return the handler of a method, of whichever of the four kinds."""
    method = served.method
    if method.stream_parameter is not None:
        make = (
            grpc.stream_stream_rpc_method_handler
            if method.streams
            else (grpc.stream_unary_rpc_method_handler)
        )
    elif method.streams:
        make = grpc.unary_stream_rpc_method_handler
    else:
        make = grpc.unary_unary_rpc_method_handler
    serve = _Handler(served, messages)
    return make(serve.stream if method.streams else serve.run)


class _Handler:
    """Serves the calls of one method; its requests and responses are bytes."""

    def __init__(self, served: Served, messages: Messages) -> None:
        self._served, self._messages = served, messages
        self._stream = served.method.stream_parameter
        self._request = messages.request.FromString
        self._columns = messages.arguments

    async def run(self, request: Any, context: Any) -> bytes:
        """Serve a call with one response."""
        try:
            if self._stream is None:
                arguments = self._read(self._parsed(request), self._columns)
            else:
                arguments = await self._collected(request)
            result = await self._served.call(arguments, Origin(context), _deadline(context))
            return self._response(result)
        except (RPCError, CallRefusedError) as error:
            await self._abort(context, error)

    async def stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        """Serve a call with a stream of responses."""
        try:
            if self._stream is None:
                arguments = self._read(self._parsed(request), self._columns)
            else:
                arguments = await self._collected(request)
            items: Any = self._served.stream(arguments, Origin(context), _deadline(context))
            try:
                async for item in items:
                    yield self._response(item)
            finally:
                await items.aclose()
        except (RPCError, CallRefusedError) as error:
            await self._abort(context, error)

    async def _abort(self, context: Any, error: Exception) -> NoReturn:
        await context.abort(*status_of(self._served.method, error))
        raise AssertionError

    async def _collected(self, request: Any) -> list[Any]:
        """Return the arguments of a call one of which is a stream."""
        assert self._stream is not None  # noqa: S101 - only called then
        first = await anext(request, b"")
        own = [each for each in self._messages.arguments if each.name != self._stream.name]
        message = self._parsed(first)
        values = dict(zip([each.name for each in own], self._read(message, own), strict=True))
        values[self._stream.name] = self._items(message, request)
        if not self._served.method.is_async:
            # A plain method gets its items from a list: it runs in a thread, and they come here.
            values[self._stream.name] = [item async for item in values[self._stream.name]]
        return [values[each.name] for each in self._messages.arguments]

    async def _items(self, first: Any, rest: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        [column] = [
            each
            for each in self._messages.arguments
            if each.name == self._stream.name  # type: ignore[union-attr]
        ]
        if first.HasField(column.name):
            yield self._read(first, [column])[0]
        async for data in rest:
            yield self._read(self._parsed(data), [column])[0]

    def _parsed(self, data: bytes) -> Any:
        try:
            return self._request(data)
        except DecodeError as error:
            raise InvalidArgumentsError(f"the request cannot be read: {error}") from error

    @staticmethod
    def _read(message: Any, columns: Any) -> list[Any]:
        try:
            return [each.read(message) for each in columns]
        except (InvalidArgumentsError, *WRONG):
            return [read_column(each, message) for each in columns]  # names the path

    def _response(self, result: Any) -> bytes:
        column = self._messages.result
        try:
            columns, values = ([], []) if column is None else ([column], [result])
            response = built(self._messages.response, columns, values)
            return response.SerializeToString()  # type: ignore[no-any-return]
        except (*WRONG, InvalidArgumentsError, EncodeError) as error:
            raise self._served.bad_result(error) from error


def _deadline(context: Any) -> float | None:
    left = context.time_remaining()
    return None if left is None else monotonic() + left
