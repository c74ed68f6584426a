"""The client of ``thrift:`` URLs: what `sparts.rpc.connect` uses.

``thrift://HOST:PORT`` connects by TCP (without a port: 9091), ``thrift:///PATH`` to a Unix socket.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from sparts.calls import CallRefusedError, Reason
from sparts.errors import UsageError
from sparts.rpc.clients import Client, OutgoingCall, collected
from sparts.rpc.errors import (
    InternalError,
    InvalidArgumentsError,
    NoSuchMethodError,
    UnavailableError,
)
from sparts.rpc.parts import refusal
from sparts.rpc.values import explain
from sparts.thrift.client.base import MAX_FRAME
from sparts.thrift.client.connections import FramedConnection
from sparts.thrift.client.endpoint import Deadline, Endpoint, check_endpoint, tls_context
from sparts.thrift.client.pool import Pool
from sparts.thrift.processor import ERROR_SPEC
from sparts.thrift.rpc import PORT
from sparts.thrift.rpc.idl import messages_of
from sparts.thrift.rpc.names import safe
from sparts.thrift.wire import BINARY, CALL, EXCEPTION, REPLY, WireError, read_header

from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import TTransportException

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Iterator, Sequence

    from sparts.rpc.interface import Interface, Method

_REASONS = {each.name: each for each in Reason}


class ThriftRPCClient(Client):
    """Calls a service over framed thrift, in the binary protocol.

    Threads and loops share the connections, which are kept for later calls.

    Args:
        url: the URL.
        interface: whose methods are called.
        ssl: True for TLS with the certificates that the system trusts, or a context with others.
            A call from a coroutine then runs in a thread.
        multiplex: whether calls name the interface (``Geo:distance``), as servers of several need.
        pool_size: how many connections there may be at once.
        connect_timeout: how many seconds connecting may take.
        max_frame: how many bytes an answer may have.
    """

    def __init__(
        self,
        url: str,
        interface: Interface,
        *,
        ssl: bool | tls.SSLContext = False,
        multiplex: bool = True,
        pool_size: int = 16,
        connect_timeout: float | None = 5.0,
        max_frame: int = MAX_FRAME,
        **options: Any,
    ) -> None:
        super().__init__(url, interface, **options)
        self._endpoint = _endpoint(url, tls_context(ssl))
        self._connect_timeout, self._max_frame = connect_timeout, max_frame
        self._messages = messages_of([interface])[interface.name]
        prefix = f"{safe(interface.name)}:" if multiplex else ""
        self._heads = {
            name: f"{prefix}{each.name}".encode() for name, each in self._messages.items()
        }
        self._numbers = itertools.count(1)
        self._pool, self._pool_size = Pool(self._connect, pool_size), pool_size
        self._slots: WeakKeyDictionary[Any, asyncio.Semaphore] = WeakKeyDictionary()

    def _connect(self, deadline: Deadline) -> FramedConnection:
        part = deadline.sooner(self._connect_timeout, f"Cannot connect to {self._endpoint}")
        return FramedConnection(self._endpoint, part, self._max_frame)

    def call(self, call: OutgoingCall) -> Any:
        """Make a call, and return its result."""
        number, request = self._request(call, call.arguments)
        deadline, usable = self._deadline(call), False
        with _translated(call):
            connection: Any = self._pool.take(deadline)
            try:
                answer = connection.exchange(request, False, deadline)
                result = self._read(call, number, answer)
                usable = True
            finally:
                self._pool.give_back(connection, usable)
        return self._result(call, result)

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call from a coroutine; if it is cancelled, its connection is closed."""
        if self._endpoint.tls is not None:
            return await super().call_async(call)
        number, request = self._request(call, await collected(call))
        loop, usable = asyncio.get_running_loop(), False
        slots = self._slots.setdefault(loop, asyncio.Semaphore(self._pool_size))
        with _translated(call):
            async with asyncio.timeout(call.seconds_left()), slots:
                connection: Any = self._pool.take_idle() or await self._taken(self._deadline(call))
                try:
                    answer = await connection.exchange_async(request)
                    result = self._read(call, number, answer)
                    usable = True
                finally:
                    if usable:
                        self._pool.give_back(connection, True)
                    else:  # when the loop has let go of the socket
                        loop.call_soon(self._pool.give_back, connection, False)
        return self._result(call, result)

    async def _taken(self, deadline: Deadline) -> Any:
        """Connect in a thread; who is cancelled leaves the connection to others."""
        taking = asyncio.get_running_loop().run_in_executor(None, self._pool.take, deadline)
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(self._not_needed)
            raise

    def _not_needed(self, taking: asyncio.Future[Any]) -> None:
        if not taking.cancelled() and taking.exception() is None:
            self._pool.give_back(taking.result(), True)

    def _deadline(self, call: OutgoingCall) -> Deadline:
        return Deadline(call.seconds_left(), f"{self._endpoint} has not answered {call.name}")

    def _request(self, call: OutgoingCall, values: Sequence[Any]) -> tuple[int, bytes]:
        """Return the number of a call, and its message.

        Raises:
            InvalidArgumentsError: a value is not of its type; the message names the path.
        """
        method, messages = call.method, self._messages[call.method.name]
        number = next(self._numbers) & 0x7FFFFFFF
        if method.stream_parameter is not None:
            pairs = zip(method.parameters, values, strict=True)
            values = [list(value) if each.is_stream else value for each, value in pairs]
        left = call.seconds_left()
        try:
            arguments = messages.arguments(values, left, call.headers)
            body = BINARY.write_struct(arguments, messages.arguments_held)
        except Exception as error:
            raise refusal(method, values, error) from error
        sequence = number.to_bytes(4, "big")
        return number, BINARY.frame(CALL, self._heads[method.name], sequence, body)[4:]

    def _read(self, call: OutgoingCall, number: int, answer: bytes) -> Any:
        """Return the struct of a result, or the exception that the server's library has sent.

        Raises:
            UnavailableError: the bytes are no answer to this call.
        """
        messages = self._messages[call.method.name]
        try:
            _, kind, _, sequence, body = read_header(answer, 0, len(answer))
            if kind not in (REPLY, EXCEPTION) or int.from_bytes(sequence, "big") != number:
                raise WireError("it is none to this call")
            if kind == EXCEPTION:
                found: Any = TApplicationException()
                BINARY.read_struct(found, ERROR_SPEC, answer[body:])
            else:
                found = messages.new_result()
                BINARY.read_struct(found, messages.result_held, answer[body:])
        except Exception as error:
            text = f"{self._endpoint} has sent an answer that makes no sense: {explain(error)}"
            raise UnavailableError(text) from error
        return found

    def _result(self, call: OutgoingCall, answer: Any) -> Any:
        if isinstance(answer, TApplicationException):
            raise _said(call.method, answer)
        try:
            return self._messages[call.method.name].returned(answer)
        except (ValueError, TypeError) as error:
            raise InvalidArgumentsError(explain(error)) from error

    def close(self) -> None:
        """Close the connections; calls that run end with `UnavailableError`."""
        self._pool.close()


def _endpoint(url: str, context: tls.SSLContext | None) -> Endpoint:
    parts = urlsplit(url)
    if parts.netloc:
        if parts.path.strip("/"):
            raise UsageError(f"{url!r} is not of the form thrift://HOST:PORT.")
        host = parts.hostname or ""
        return check_endpoint(Endpoint(host, parts.port or PORT, "", "", context, host), {})
    if not parts.path.startswith("/"):
        raise UsageError(f"{url!r} is neither thrift://HOST:PORT nor thrift:///PATH of a socket.")
    return check_endpoint(Endpoint(unix=unquote(parts.path), tls=context), {})


@contextmanager
def _translated(call: OutgoingCall) -> Iterator[None]:
    """Raise what the library raises as what a caller of any transport gets."""
    try:
        yield
    except TTransportException as error:
        if error.type == TTransportException.TIMED_OUT:
            call.seconds_left()  # raises, unless it was connecting that took too long
        maybe_run = error.type != TTransportException.NOT_OPEN
        raise UnavailableError(str(error.message), maybe_run) from error
    except TimeoutError:
        raise call.late() from None


def _said(method: Method, error: TApplicationException) -> Exception:
    """Return the error that an exception of the thrift library's own means."""
    name, colon, message = str(error.message).partition(": ")
    if colon and name in _REASONS:
        return CallRefusedError(_REASONS[name], message)
    if error.type == TApplicationException.UNKNOWN_METHOD:
        return NoSuchMethodError(str(error.message))
    found = method.error(name, message) if colon else InternalError(str(error.message))
    if isinstance(found, InternalError) and name == InternalError.__name__:
        found.id = message.rpartition(" ")[2]
    return found
