"""RPCGrpcTask: serves the RPC tasks of a service over gRPC."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar

from google.protobuf.message import DecodeError, EncodeError
from sparts.calls import CallRefusedError, joined
from sparts.rpc.errors import InvalidArgumentsError, RPCError
from sparts.rpc.transport import RPCTransport
from sparts.rpc.values import WRONG
from sparts.tasks.grpc.rpc.codecs import built, read_column
from sparts.tasks.grpc.rpc.schema import Messages, Schema, method_refusal, refusal
from sparts.tasks.grpc.rpc.statuses import status_of
from sparts.tasks.grpc.task import GrpcTask
from sparts.tasks.grpc.weight import LARGE, TooHeavyError, bounded

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sparts.rpc.interface import Method
    from sparts.rpc.serving import Served
    from sparts.rpc.types import Type
    from sparts.tasks.grpc.protocols import OpenCall


PER_FIELD = 100
"""Bytes that a field of a struct takes, as an object of Python."""


class RPCGrpcTask(RPCTransport, GrpcTask):
    """Serves the methods of the service's `RPCTask` tasks over gRPC: see docs/rpc.

    The name of a gRPC service is that of the task, without a package. ``sparts rpc idl --proto``
    prints the file from which clients in other languages are made.
    """

    OPT_PREFIX: ClassVar[str | None] = "rpc-grpc"
    TRANSPORT: ClassVar[str] = "gRPC"
    DEFAULT_PORT: ClassVar[int] = 50061
    MAX_MESSAGE: ClassVar[int] = 64 * 1024 * 1024
    _for_rpc = True

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
        return joined((key, value) for key, value in metadata if isinstance(value, str))


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
    in_loop = method.is_async or served.task.INLINE
    serve: Any = (_LoopHandler if in_loop else _ThreadHandler)(served, messages)
    return make(serve.stream if method.streams else serve.run)


class _Handler:
    """Serves the calls of one method; its requests and responses are bytes."""

    def __init__(self, served: Served, messages: Messages) -> None:
        self._served, self._messages = served, messages
        self._request = bounded(messages.request, PER_FIELD)
        self._columns = messages.arguments
        stream = served.method.stream_parameter
        found = [each for each in self._columns if stream and each.name == stream.name]
        self._items = found[0] if found else None
        """The column of the parameter that is a stream."""

    def _whole(self, request: bytes) -> list[Any]:
        """Return all arguments."""
        return self._read(self._parsed(request), self._columns)

    def _split(self, first: bytes) -> tuple[Any, dict[str, Any]]:
        """Return the first message of a stream, and the other arguments, which it holds."""
        message = self._parsed(first)
        own = [each for each in self._columns if each is not self._items]
        values = self._read(message, own)
        return message, dict(zip([each.name for each in own], values, strict=True))

    def _arranged(self, values: dict[str, Any], items: Any) -> list[Any]:
        return [items if each is self._items else values[each.name] for each in self._columns]

    def _item(self, message: Any) -> Any:
        assert self._items is not None  # noqa: S101 - only of a stream
        return self._read(message, [self._items])[0]

    def _parsed(self, data: bytes) -> Any:
        try:
            return self._request(data)
        except TooHeavyError as error:
            raise InvalidArgumentsError(str(error)) from None
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


class _LoopHandler(_Handler):
    """Serves methods that are ``async def``, or inline."""

    async def run(self, request: Any, context: Any) -> bytes:
        """Serve a call with one response."""
        try:
            arguments = await self._arguments(request, context)
            result = await self._served.call(arguments, Origin(context), _deadline(context))
            return self._response(result)
        except (RPCError, CallRefusedError) as error:
            await context.abort(*status_of(self._served.method, error))
            raise AssertionError from None

    async def stream(self, request: Any, context: Any) -> AsyncIterator[bytes]:
        """Serve a call with a stream of responses."""
        try:
            arguments = await self._arguments(request, context)
            items: Any = self._served.stream(arguments, Origin(context), _deadline(context))
            try:
                async for item in items:
                    yield self._response(item)
            finally:
                await items.aclose()
        except (RPCError, CallRefusedError) as error:
            await context.abort(*status_of(self._served.method, error))

    async def _arguments(self, request: Any, context: Any) -> list[Any]:
        if self._items is None:
            if len(request) < LARGE:
                return self._whole(request)
            return await asyncio.to_thread(self._whole, request)
        inline = not self._served.method.is_async
        if inline:  # it gets all items at once
            request = _kept(request, context.call)
        message, values = self._split(await anext(request, b""))
        items: Any = self._rest(message, request)
        if inline:
            items = [item async for item in items]
        return self._arranged(values, items)

    async def _rest(self, first: Any, rest: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        if first.HasField(self._items.name):  # type: ignore[union-attr]
            yield self._item(first)
        async for data in rest:
            yield self._item(self._parsed(data))


class _ThreadHandler(_Handler):
    """Serves methods that are plain functions, in the threads of the server."""

    def run(self, request: Any, context: Any) -> bytes:
        """Serve a call with one response."""
        try:
            arguments = self._arguments(request)
            result = self._served.call_here(arguments, Origin(context), _deadline(context))
            return self._response(result)
        except (RPCError, CallRefusedError) as error:
            context.abort(*status_of(self._served.method, error))
            raise AssertionError from None

    def stream(self, request: Any, context: Any) -> Iterator[bytes]:
        """Serve a call with a stream of responses."""
        try:
            arguments = self._arguments(request)
            items = self._served.stream_here(arguments, Origin(context), _deadline(context))
            with contextlib.closing(items):  # type: ignore[type-var]
                for item in items:
                    yield self._response(item)
        except (RPCError, CallRefusedError) as error:
            context.abort(*status_of(self._served.method, error))

    def _arguments(self, request: Any) -> list[Any]:
        if self._items is None:
            return self._whole(request)
        message, values = self._split(next(request, b""))
        return self._arranged(values, self._rest(message, request))

    def _rest(self, first: Any, rest: Iterator[bytes]) -> Iterator[Any]:
        if first.HasField(self._items.name):  # type: ignore[union-attr]
            yield self._item(first)
        for data in rest:
            yield self._item(self._parsed(data))


async def _kept(request: AsyncIterator[bytes], call: OpenCall) -> AsyncIterator[bytes]:
    """Give the messages of a request, and count them as memory until the call ends."""
    async for data in request:
        call.keep(len(data) + PER_FIELD)
        yield data


def _deadline(context: Any) -> float | None:
    left = context.time_remaining()
    return None if left is None else monotonic() + left
