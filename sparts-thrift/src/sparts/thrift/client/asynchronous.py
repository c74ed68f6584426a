"""AsyncThriftClient: calls a service, from the coroutines of an asyncio loop."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any

from sparts.calls import client_wrapper
from sparts.errors import UsageError
from sparts.thrift.calls import passing
from sparts.thrift.client.base import ClientBase
from sparts.thrift.client.calls import sent_headers, wrapped_call
from sparts.thrift.client.endpoint import (
    Deadline,
    Endpoint,
    check_size,
    closed_error,
    connect_error,
    lost_error,
)

from thrift.protocol.TProtocol import TProtocolException
from thrift.transport.TTransport import TTransportException

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from sparts.thrift.services import ThriftMethod

CLOSE_TIME = 1.0
"""Seconds that a connection may take to say good-bye."""


class AsyncConnection:
    """Carries calls as frames, one at a time."""

    def __init__(
        self, endpoint: Endpoint, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._endpoint = endpoint
        self._reader, self._writer = reader, writer
        self.address: Any = writer.get_extra_info("sockname")

    async def exchange(self, request: bytes, oneway: bool, max_frame: int) -> bytes:
        """Send a call, and return the bytes of its answer; none if it is oneway.

        Raises:
            TTransportException: the connection failed. It is of no use then.
        """
        try:
            self._writer.write(struct.pack("!I", len(request)) + request)
            await self._writer.drain()
            if oneway:
                return b""
            header = await self._reader.readexactly(4)
            (size,) = struct.unpack("!i", header)
            check_size(self._endpoint, header, size, max_frame)
            return await self._reader.readexactly(size)
        except asyncio.IncompleteReadError:
            raise lost_error(self._endpoint) from None
        except OSError as error:
            raise lost_error(self._endpoint, error) from error

    def idle(self) -> bool:
        """Return whether it can be used for the next call."""
        return not self._reader.at_eof() and not self._writer.is_closing()

    def interrupt(self) -> None:
        """End the call that another coroutine makes."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close it, when what was written is sent."""
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIME):
                await self._writer.wait_closed()
        self._writer.transport.abort()


class AsyncThriftClient(ClientBase):
    """Calls a service; its methods are coroutines. It belongs to the loop of its first call.

    It raises what `sparts.thrift.client.ThriftClient` raises, and takes the same arguments, except
    ``path``: it speaks framed thrift only. A call that is cancelled closes its connection.
    """

    def _begin(self, pool_size: int) -> None:
        if self._endpoint.path:
            raise UsageError(
                "AsyncThriftClient speaks framed thrift only. ThriftClient speaks HTTP: call it "
                "with asyncio.to_thread."
            )
        self._pool_size = pool_size
        self._state = _State(pool_size)

    async def call(self, method: str, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the service by its name, also one that the client has itself (close).

        Raises:
            TypeError: the arguments are not those of the method, or not of their types.
            RuntimeError: the client has connections in another event loop.
        """
        wrapper = client_wrapper(is_async=True)
        if wrapper is None:
            return await self._call(method, args, kwargs)
        return await wrapped_call(
            wrapper, self._service.name, method, self._endpoint,
            lambda: self._call(method, args, kwargs), is_async=True,
        )  # fmt: skip

    async def _call(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        what, number = self._method(method), self._number()
        request = self._codec.encode(what, number, args, kwargs)
        state, deadline = self._state.here(), self._deadline(method)
        failures = 0
        try:
            async with asyncio.timeout(self._timeout):
                while True:
                    try:
                        return await self._exchange(state, what, number, request)
                    except TTransportException as error:
                        if state.closed:
                            raise closed_error() from None
                        failures += 1
                        delay = self._delay(what, error, failures)
                    await asyncio.sleep(delay)
        except TimeoutError:
            raise deadline.error() from None

    async def _exchange(
        self, state: _State, method: ThriftMethod, number: int, request: bytes
    ) -> Any:
        async with state.slots:
            connection = await self._take(state)
            usable = False
            try:
                headers = {} if method.oneway else sent_headers.get()
                with passing(connection.address, headers) if headers else nullcontext():
                    answer = await connection.exchange(request, method.oneway, self._max_frame)
                usable = True
                return None if method.oneway else self._codec.decode(method, number, answer)
            except TProtocolException:
                usable = False  # the next answer in it may be to this call
                raise
            finally:
                state.used.discard(connection)
                if usable and not state.closed:
                    state.idle.append(connection)
                else:
                    connection.interrupt()

    async def _take(self, state: _State) -> AsyncConnection:
        """Return a connection that is open and silent, a new one if none is idle."""
        if state.closed:
            raise closed_error()
        while state.idle:
            kept = state.idle.pop()
            if kept.idle():
                state.used.add(kept)
                return kept
            kept.interrupt()
        made = await self._connect()
        if state.closed:
            made.interrupt()
            raise closed_error()
        state.used.add(made)
        return made

    async def _connect(self) -> AsyncConnection:
        part = Deadline(self._connect_timeout, f"Cannot connect to {self._endpoint}")
        try:
            async with asyncio.timeout(self._connect_timeout):
                return AsyncConnection(self._endpoint, *await _open(self._endpoint))
        except TimeoutError:
            raise part.error() from None

    async def close(self) -> None:
        """Close all connections; calls that others make end with ``TTransportException``."""
        state = self._state
        state.closed = True
        for connection in state.used:
            connection.interrupt()
        idle, state.idle = state.idle, []
        for connection in idle:
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class _State:
    """The connections of a client, and the loop that they live on."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._loop: asyncio.AbstractEventLoop | None = None
        self.idle: list[AsyncConnection] = []
        self.used: set[AsyncConnection] = set()
        self.closed = False
        self.slots = asyncio.Semaphore(size)

    def here(self) -> _State:
        """Return it for use in the running loop."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self.idle or self.used:
                raise RuntimeError(
                    "This client has connections in another event loop: close it there, or make "
                    "one for each loop."
                )
            self._loop, self.slots = loop, asyncio.Semaphore(self._size)
        return self


async def _open(endpoint: Endpoint) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    try:
        found: list[tuple[int, int, Any]] = [(socket.AF_UNIX, 0, endpoint.unix)]
        if not endpoint.unix:
            kind = socket.SOCK_STREAM
            infos = await loop.getaddrinfo(endpoint.host, endpoint.port, type=kind)
            found = [(info[0], info[2], info[4]) for info in infos]
        for family, protocol, address in found:
            # With its protocol, by which asyncio knows that it should send without delay.
            sock = socket.socket(family, socket.SOCK_STREAM, protocol)
            try:
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
                name = endpoint.server_hostname if endpoint.tls else None
                return await asyncio.open_connection(
                    sock=sock, ssl=endpoint.tls, server_hostname=name
                )
            except OSError as error:
                sock.close()
                last = error
            except BaseException:
                sock.close()
                raise
    except OSError as error:  # the name of the host
        if isinstance(error, TimeoutError):
            raise
        last = error
    raise connect_error(endpoint, last or OSError("it has no address")) from last
