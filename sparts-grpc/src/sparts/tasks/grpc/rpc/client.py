"""GrpcClient: what `sparts.rpc.connect` calls ``grpc:`` URLs with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from google.protobuf.message import DecodeError, EncodeError
from sparts.errors import UsageError
from sparts.rpc.clients import Client, OutgoingCall
from sparts.rpc.errors import InvalidArgumentsError
from sparts.rpc.values import WRONG, explain
from sparts.tasks.grpc.rpc.codecs import built
from sparts.tasks.grpc.rpc.schema import Messages, Schema
from sparts.tasks.grpc.rpc.statuses import error_of

import grpc
import grpc.aio

if TYPE_CHECKING:
    from sparts.rpc.interface import Interface, Method

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
)


class GrpcClient(Client):
    """Calls methods over gRPC; from any thread, and from any asyncio loop.

    Args:
        url: ``grpc://HOST:PORT``, or ``grpc:///PATH`` for a Unix socket.
        interface: whose methods are called.
        credentials: of the channel, for TLS; None: the connection is not encrypted.
    """

    def __init__(
        self,
        url: str,
        interface: Interface,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, interface, **options)
        self._target = _target(url)
        self._credentials = credentials
        self._methods = Schema(interface).methods
        self._channel: Any = None
        self._functions: dict[str, Any] = {}
        self._loops: dict[asyncio.AbstractEventLoop, tuple[Any, dict[str, Any]]] = {}

    @classmethod
    def list_methods(cls, url: str) -> list[str]:
        """Return the methods of a server, a line each, for ``sparts rpc list``.

        Raises:
            UsageError: the URL is wrong.
            UnavailableError: the server does not answer well.
        """
        from sparts.tasks.grpc.rpc.listing import listed

        return listed(_target(url))

    def call(self, call: OutgoingCall) -> Any:
        """Make a call."""
        function, messages, request, options = self._prepared(call, self._blocking())
        try:
            return _result(messages, function(request, **options))
        except grpc.RpcError as error:
            raise error_of(call, error) from None

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call from a coroutine."""
        function, messages, request, options = self._prepared(call, self._awaiting(), True)
        try:
            return _result(messages, await function(request, **options))
        except grpc.RpcError as error:
            raise error_of(call, error) from None

    def stream(self, call: OutgoingCall) -> Iterator[Any]:
        """Give the items of a stream as they come."""
        function, messages, request, options = self._prepared(call, self._blocking())
        responses = function(request, **options)
        try:
            for each in responses:
                yield _result(messages, each)
        except grpc.RpcError as error:
            raise error_of(call, error) from None
        finally:
            responses.cancel()

    async def stream_async(self, call: OutgoingCall) -> AsyncIterator[Any]:
        """Give the items of a stream as they come."""
        function, messages, request, options = self._prepared(call, self._awaiting(), True)
        responses = function(request, **options)
        try:
            async for each in responses:
                yield _result(messages, each)
        except grpc.RpcError as error:
            raise error_of(call, error) from None
        finally:
            responses.cancel()

    def close(self) -> None:
        """Close the channel of threads; those of loops end with their loops."""
        if self._channel is not None:
            self._functions, channel, self._channel = {}, self._channel, None
            channel.close()

    async def close_async(self) -> None:
        """Close all channels that this loop and threads have."""
        self.close()
        found = self._loops.pop(asyncio.get_running_loop(), None)
        if found is not None:
            await found[0].close()

    # -- channels ----------------------------------------------------------------------------------

    def _blocking(self) -> dict[str, Any]:
        functions = self._functions
        if self._channel is None:
            self._channel = self._new_channel(grpc)
            functions = self._functions = self._functions_of(self._channel)
        return functions

    def _awaiting(self) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            for ended in [each for each in self._loops if each.is_closed()]:
                del self._loops[ended]
            channel = self._new_channel(grpc.aio)
            self._loops[loop] = channel, self._functions_of(channel)
        return self._loops[loop][1]

    def _new_channel(self, kind: Any) -> Any:
        self.check_open()
        if self._credentials is None:
            return kind.insecure_channel(self._target, _OPTIONS)
        return kind.secure_channel(self._target, self._credentials, _OPTIONS)

    def _functions_of(self, channel: Any) -> dict[str, Any]:
        return {
            name: getattr(channel, _kind(method))(self._methods[method.qualified].path)
            for name, method in self.interface.methods.items()
        }

    # -- calls -------------------------------------------------------------------------------------

    def _prepared(
        self, call: OutgoingCall, functions: dict[str, Any], in_loop: bool = False
    ) -> tuple[Any, Messages, Any, dict[str, Any]]:
        method = call.method
        messages = self._methods[method.qualified]
        options: dict[str, Any] = {"timeout": call.seconds_left()}
        if call.headers:
            options["metadata"] = [(key.lower(), each) for key, each in call.headers.items()]
        if method.stream_parameter is None:
            request: Any = _bytes(messages.request, messages.arguments, call.arguments)
        else:
            make = _requests_async if in_loop else _requests
            request = make(method, messages, call.arguments)
        return functions[method.name], messages, request, options


def _kind(method: Method) -> str:
    sent = "unary" if method.stream_parameter is None else "stream"
    return f"{sent}_{'stream' if method.streams else 'unary'}"


def _bytes(message: Any, columns: Sequence[Any], values: Sequence[Any]) -> bytes:
    try:
        return built(message, columns, values).SerializeToString()  # type: ignore[no-any-return]
    except InvalidArgumentsError:
        raise
    except (*WRONG, EncodeError) as error:
        raise InvalidArgumentsError(explain(error)) from error


def _split(method: Method, messages: Messages, values: Sequence[Any]) -> tuple[bytes, Any, Any]:
    """Return the first request, the column of the stream's items, and the items."""
    pairs = list(zip(messages.arguments, values, strict=True))
    name = method.stream_parameter.name  # type: ignore[union-attr]
    own = [each for each in pairs if each[0].name != name]
    [(column, items)] = [each for each in pairs if each[0].name == name]
    first = _bytes(messages.request, [each for each, _ in own], [value for _, value in own])
    return first, column, items


def _requests(method: Method, messages: Messages, values: Sequence[Any]) -> Iterable[bytes]:
    first, column, items = _split(method, messages, values)
    yield first
    for each in items:
        yield _bytes(messages.request, [column], [each])


async def _requests_async(
    method: Method, messages: Messages, values: Sequence[Any]
) -> AsyncIterator[bytes]:
    first, column, items = _split(method, messages, values)
    yield first
    if hasattr(items, "__aiter__"):
        async for each in items:
            yield _bytes(messages.request, [column], [each])
        return
    for each in items:
        yield _bytes(messages.request, [column], [each])


def _result(messages: Messages, data: bytes) -> Any:
    if messages.result is None:
        return None
    try:
        return messages.result.read(messages.response.FromString(data))
    except DecodeError as error:
        raise InvalidArgumentsError(f"the response cannot be read: {error}") from error
    except InvalidArgumentsError as error:
        raise InvalidArgumentsError(f"result.{error}") from error
    except WRONG as error:
        raise InvalidArgumentsError(f"result: {explain(error)}") from error


def _target(url: str) -> str:
    parts = urlsplit(url)
    if not parts.netloc and not parts.path:
        raise UsageError(f"{url!r} is no grpc://HOST:PORT and no grpc:///PATH.")
    return parts.netloc or f"unix:{parts.path}"
