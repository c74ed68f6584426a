"""Serves connections with asyncio protocols, and ends without cutting off what has begun."""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from sparts.clock import timeout_of
from sparts.counters import CallbackCounter
from sparts.net.accepting import Acceptor
from sparts.net.listeners import ConnectionLimit, Listening
from sparts.shown import service_of

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable

CLOSING = 0.5
"""Seconds that protocols have to notice that their connections were cut off."""
HANDSHAKE = 30.0
"""Seconds that a client has for the TLS handshake."""


class Drains(Protocol):
    """What a protocol may have beside the methods of asyncio's."""

    def drain(self) -> None:
        """Answer what has begun, and close the transport after it; called in the loop at the stop.

        It is called for each open connection, and for each that is accepted after that. A fresh
        connection may wait a moment for its first request: its client could not know of the stop.
        A protocol without this method is closed after `Serving.FIRST_REQUEST_GRACE`.
        """


class Server:
    """Serves the connections of one task; all of it happens in the thread of a running loop.

    Args:
        task: the server task, whose warnings and logger are used.
        factory: called for each connection; the protocol may have a method `Drains.drain`.
        max_connections: how many may be open.
        make_room: called for one connection more; may close one that is idle, and returns whether
            it did. Otherwise the new client is disconnected.
        tls: the TLS of the connections; None: they have none.
    """

    def __init__(
        self,
        task: Any,
        factory: Callable[[], asyncio.BaseProtocol],
        *,
        max_connections: float = inf,
        make_room: Callable[[], bool] = lambda: False,
        tls: ssl.SSLContext | None = None,
        grace: float = 1.0,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._task, self._factory, self._tls, self._grace = task, factory, tls, grace
        self._max_connections, self._make_room = max_connections, make_room
        self._acceptor: Acceptor | None = None
        self._connecting: set[asyncio.Task[None]] = set()
        self._open: dict[Any, asyncio.Transport] = {}  # by their protocols
        self._changed: asyncio.Event | None = None  # not None: the server ends
        self._keeper: asyncio.Task[None] | None = None
        self.n_refused: int = 0
        """How many clients were disconnected because too many connections were open."""

    @property
    def connections(self) -> list[Any]:
        """The protocols of the open connections."""
        return list(self._open)

    @property
    def n_connections(self) -> int:
        """How many connections are open, those among them whose TLS handshake is under way."""
        return len(self._open) + len(self._connecting)

    def accept_on(self, sockets: Iterable[socket.socket]) -> None:
        """Begin to accept on listening sockets, which stay the caller's."""
        self._acceptor = Acceptor(
            self._task, sockets, self._accepted, self._admits, lambda: self.n_connections
        )
        self._keeper = self._loop.create_task(self._keep(), name=f"{self._task.name} connections")

    def stop_accepting(self) -> None:
        """Accept no more connections."""
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None

    def follow(self, old: Any, new: Any) -> None:
        """Have a protocol take the place of another, before ``transport.set_protocol``."""
        transport = self._open.pop(old)
        self._watch(new)
        self._made(new, transport)

    # -- connections -------------------------------------------------------------------------------

    def _admits(self) -> bool:
        if self.n_connections < self._max_connections or self._make_room():
            return True
        self.n_refused += 1
        return False

    def _accepted(self, connection: socket.socket, address: Any = None) -> None:
        connection.setblocking(False)
        connecting = self._loop.create_task(self._connect(connection))
        self._connecting.add(connecting)
        connecting.add_done_callback(self._connected)

    async def _connect(self, connection: socket.socket) -> None:
        handshake = {"ssl_handshake_timeout": HANDSHAKE} if self._tls is not None else {}
        try:
            await self._loop.connect_accepted_socket(
                self._make_protocol, connection, ssl=self._tls, **handshake
            )
        except OSError:  # it has gone, or does not speak TLS
            connection.close()
        except Exception:
            connection.close()
            raise

    def _connected(self, connecting: asyncio.Task[None]) -> None:
        self._connecting.discard(connecting)
        if not connecting.cancelled() and (error := connecting.exception()) is not None:
            self._task.logger.error("A connection could not be served", exc_info=error)
        self._settle()

    def _make_protocol(self) -> asyncio.BaseProtocol:
        protocol, connecting = self._factory(), asyncio.current_task()
        made: Callable[[Any], None] = protocol.connection_made

        def connection_made(transport: asyncio.Transport) -> None:
            nonlocal connecting
            self._connecting.discard(connecting)
            connecting = None
            self._made(protocol, transport)
            made(transport)

        setattr(protocol, "connection_made", connection_made)  # noqa: B010
        self._watch(protocol)
        return protocol

    def _watch(self, protocol: Any) -> None:
        """Have the end of a protocol's connection noted; it happens once, for every class."""
        lost: Callable[[Exception | None], None] = protocol.connection_lost

        def connection_lost(error: Exception | None) -> None:
            self._open.pop(protocol, None)
            self._settle()
            lost(error)

        setattr(protocol, "connection_lost", connection_lost)  # noqa: B010

    def _made(self, protocol: Any, transport: asyncio.Transport) -> None:
        self._open[protocol] = transport
        if self._changed is not None:
            self._loop.call_soon(self._drain, protocol)

    def _settle(self) -> None:
        if self._acceptor is not None:
            self._acceptor.recount()
        if self._changed is not None:
            self._changed.set()

    async def _keep(self) -> None:
        """Close everything if the loop ends first: then it cancels what runs in it."""
        try:
            await self._loop.create_future()
        finally:
            self.stop_accepting()
            self._give_up_handshakes()
            for transport in list(self._open.values()):
                transport.abort()
            await self._none_open(self._loop.time() + CLOSING)

    # -- the end -----------------------------------------------------------------------------------

    async def end(self, waiting: Iterable[socket.socket], limit: float | None) -> int:
        """Let what has begun finish, and close the connections; return how many were cut off.

        Args:
            waiting: connections that waited in the listening sockets, which are served too.
            limit: seconds after which what has not finished is cut off; None: never.
        """
        self.stop_accepting()
        until = None if limit is None else self._loop.time() + limit
        self._changed = asyncio.Event()
        for connection in waiting:
            self._accepted(connection)
        for protocol in self.connections:
            self._drain(protocol)
        giving_up = self._loop.call_later(self._grace, self._give_up_handshakes)
        await self._none_open(until)
        giving_up.cancel()
        self._give_up_handshakes()
        cut = len(self._open)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        return cut

    def _give_up_handshakes(self) -> None:
        for connecting in self._connecting:
            connecting.cancel()

    def _drain(self, protocol: Any) -> None:
        transport = self._open.get(protocol)
        if transport is None or transport.is_closing():
            return
        if hasattr(protocol, "drain"):
            protocol.drain()
        else:
            self._loop.call_later(self._grace, transport.close)

    async def _none_open(self, until: float | None) -> None:
        """Wait until no connection is open, or for a time of the loop's clock."""
        self._changed = changed = self._changed or asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while self._open or self._connecting:
                    changed.clear()
                    await changed.wait()


class Serving(ConnectionLimit, Listening):
    """A mixin for server tasks on asyncio: serves their connections, and drains them at the stop.

    The task lives on an asyncio loop. It calls `serve` in ``start_in_loop``, awaits `end_serving`
    in ``stop_in_loop`` and calls `close_sockets` in ``join``; `sparts.tasks.asyncio_server` has a
    task that does so.
    """

    FIRST_REQUEST_GRACE: ClassVar[float] = 1.0
    """Seconds that a client which has just connected has to send its request when the task stops.
    """

    connections: CallbackCounter = CallbackCounter(
        lambda task: task._server.n_connections if task._server else 0, help="Open connections."
    )
    refused: CallbackCounter = CallbackCounter(
        lambda task: task._server.n_refused if task._server else 0,
        help="Clients disconnected because too many connections were open.",
    )

    _server: Server | None = None

    def serve(
        self,
        factory: Callable[[], asyncio.BaseProtocol],
        make_room: Callable[[], bool] = lambda: False,
    ) -> Server:
        """Serve the connections of this task's sockets; call it in the loop, at each start.

        Args:
            factory: called for each connection; returns its protocol, which should have a method
                ``drain`` (`Drains`).
            make_room: called when ``max_connections`` are open and one more comes: closes one that
                is idle and returns True, or returns False: the new client is disconnected.
        """
        self._server = server = Server(
            self,
            factory,
            max_connections=self.max_connections,
            make_room=make_room,
            tls=self.ssl_context,
            grace=self.FIRST_REQUEST_GRACE,
        )
        server.accept_on(self.take_sockets())
        self.log_started()
        return server

    async def end_serving(self) -> None:
        """Accept no more, serve who waits, let what has begun finish, and close the connections.

        What has not finished after `seconds_to_stop` is cut off, and logged. Call it in the loop.
        """
        server = self._server
        if server is None:
            return
        server.stop_accepting()
        restarting = service_of(self).health.restarting
        cut = await self._end(server)
        if restarting and not service_of(self).health.restarting:
            cut += await self._end(server)  # a stop has come: no next instance serves who waits
        if cut:
            self.logger.warning("Connections cut off, which took too long to finish: %d", cut)

    async def _end(self, server: Server) -> int:
        limit = timeout_of(self.seconds_to_stop())  # type: ignore[attr-defined]
        return await server.end(self.stop_listening(), limit)
