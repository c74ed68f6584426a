"""Connections of a client whose calls are awaited, and their pools, one for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import httptools
from sparts.rpc.errors import UnavailableError
from sparts.tasks.asgi.rpc.blocking import MOST_IDLE
from sparts.tasks.asgi.rpc.exchange import Response, unexpected

if TYPE_CHECKING:
    import ssl

    from sparts.rpc.clients import OutgoingCall
    from sparts.tasks.asgi.rpc.exchange import Place

_MOST_READ = 1 << 20
"""Bytes of a stream that wait for the caller before the server has to."""


class Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self._response: Response | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._paused = False
        self.streams = False
        """Whether the caller takes the body in parts."""
        self.transport: Any = None

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._error is None and not self.transport.is_closing()

    async def send(self, request: bytes, response: Response) -> None:
        """Send a request, and return when the response is complete; of a stream: has begun.

        Raises:
            UnavailableError: the connection was lost.
        """
        self._response = response
        self.transport.write(request)
        while not (response.complete or (self.streams and response.started)):
            await self.more()

    async def more(self) -> None:
        """Wait for more of the response."""
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    # -- called by asyncio -------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in a part of the response."""
        response = self._response
        if response is None or response.complete:
            self._fail(UnavailableError("The server has sent what nobody asked for."))
            return
        try:
            response.feed(data)
        except httptools.HttpParserError as error:
            self._fail(UnavailableError(unexpected(error)))
            return
        complete: bool = response.complete  # it has changed
        if complete or self.streams:
            if not complete and sum(map(len, response.parts)) > _MOST_READ:
                self._paused = True
                self.transport.pause_reading()
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the request that is under way."""
        if self._response is not None:
            self._response.ended()
        what = f"The connection was lost: {error}" if error else "The server has closed it."
        self._error = self._error or UnavailableError(what)
        self._wake()

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.transport.abort()
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if self._error is not None and not (self._response and self._response.complete):
            waiter.set_exception(self._error)
        else:
            waiter.set_result(None)


class AsyncPool:
    """Connections to one server, of any number of event loops.

    Args:
        place: where the server is.
        tls: the TLS context; None: it speaks no TLS.
    """

    def __init__(self, place: Place, tls: ssl.SSLContext | None) -> None:
        self._place, self._tls = place, tls
        self._idle: WeakKeyDictionary[Any, list[Connection]] = WeakKeyDictionary()
        self._closed = False

    async def ask(self, call: OutgoingCall, request: bytes) -> Response:
        """Send a request, and return its whole response; see `blocking.Pool.ask`."""
        response, connection = Response(), None
        try:
            async with asyncio.timeout(call.seconds_left()):
                connection = await self._connection(False)
                await connection.send(request, response)
        except TimeoutError:
            raise call.late() from None
        finally:
            self._put_back(connection, response)
        return response

    async def stream(
        self, call: OutgoingCall, request: bytes, response: Response
    ) -> AsyncIterator[bytes]:
        """Send a request, and give the parts of the response's body as they come."""
        connection = None
        try:
            async with asyncio.timeout(call.seconds_left()):
                connection = await self._connection(True)
                await connection.send(request, response)
            while True:
                if data := response.take():
                    yield data
                if response.complete:
                    break
                async with asyncio.timeout(call.seconds_left()):
                    await connection.more()
            if data := response.take():
                yield data
        except TimeoutError:
            raise call.late() from None
        finally:
            self._put_back(connection, response)

    def _put_back(self, connection: Connection | None, response: Response) -> None:
        if connection is None:
            return
        idle = self._idle.setdefault(asyncio.get_running_loop(), [])
        if response.keeps_alive and connection.usable and len(idle) < MOST_IDLE:
            connection.streams = False
            idle.append(connection)
        else:
            connection.transport.abort()
        if self._closed:
            self.close()

    async def _connection(self, streams: bool) -> Connection:
        loop = asyncio.get_running_loop()
        idle = self._idle.setdefault(loop, [])
        while idle:
            connection = idle.pop()
            if connection.usable:
                connection.streams = streams
                return connection
        place, tls = self._place, self._tls
        try:
            if place.path:
                _, connection = await loop.create_unix_connection(Connection, place.path)
            else:
                host = place.host if tls else None
                _, connection = await loop.create_connection(
                    Connection, place.host, place.port, ssl=tls, server_hostname=host
                )
        except TimeoutError:
            raise
        except OSError as error:
            raise UnavailableError(
                f"{place.path or place.authority} cannot be reached: {error}", maybe_run=False
            ) from error
        connection.streams = streams
        return connection

    def close(self) -> None:
        """Close the connections that nobody uses, and keep none from now on; from any thread."""
        self._closed = True
        for loop, idle in list(self._idle.items()):
            with suppress(IndexError):  # loops take some too
                while True:
                    connection = idle.pop()
                    with suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(connection.transport.abort)

    async def close_async(self) -> None:
        """Close them, and give those of this loop a turn to do so."""
        self.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
