"""Listening ports, and the connections that they have taken."""

from __future__ import annotations

import weakref
from errno import EWOULDBLOCK
from socket import AF_UNIX
from typing import TYPE_CHECKING, Any

from sparts.net.accepting import Accepting
from sparts.net.sockets import send_at_once

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import maybeDeferred
from twisted.internet.unix import Port as UNIXPort

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sparts.protocols import Task


class OpenPort:
    """A listening port of a reactor that knows its connections. Only for the reactor's thread.

    Args:
        reactor: where it listens.
        port: an ``IListeningPort`` that has not taken a connection yet.
        task: whose service and logger report when no connection can be accepted.
        admits: whether one more connection may be open.
    """

    def __init__(self, reactor: Any, port: Any, task: Task, admits: Callable[[], bool]) -> None:
        self._reactor = reactor
        self._port = port
        self._connections: weakref.WeakSet[Any] = weakref.WeakSet()
        self.address: Any = _address(port)
        self._guard: Guard | None = None
        if hasattr(port, "socket"):
            send_at_once(port.socket)
            self._guard = Guard(reactor, port, task, admits)
        make = getattr(port, "transport", None)  # the class of the connections
        if make is None:
            return

        def made(*args: Any) -> Any:
            connection = make(*args)
            self._connections.add(connection)
            if self._guard is not None:
                self._guard.watch(connection)
            return connection

        port.transport = made

    @property
    def n_connections(self) -> int:
        """How many connections are open that the port has accepted."""
        return 0 if self._guard is None else self._guard.n_connections

    async def stop_listening(self) -> None:
        """Take no more connections."""
        if self._guard is not None:
            self._guard.stop()
        await maybeDeferred(self._port.stopListening)

    def adopt(self, connection: socket.socket, factory: Any) -> None:
        """Take a connection that has waited; what is given is a duplicate to be closed."""
        taken = self._reactor.adoptStreamConnection(connection.fileno(), connection.family, factory)
        self._connections.add(taken)

    async def close_connections(self, seconds: float | None) -> int:
        """Close all connections once they have sent what they have to send.

        Those that have not within so many seconds (None: however long it takes) are cut off. Return
        how many that were.
        """
        for connection in self._connected():
            _lose(connection)
        cut: list[Any] = []

        def cut_off() -> None:
            cut.extend(self._connected())
            for connection in cut:
                connection.abortConnection()

        timer = None if seconds is None else self._reactor.callLater(seconds, cut_off)
        await self._reactor.when(lambda: not self._connected())
        if timer is not None and timer.active():
            timer.cancel()
        return len(cut)

    def _connected(self) -> list[Any]:
        return [connection for connection in self._connections if connection.connected]


class Guard:
    """Stands in for the socket of a port: it pauses the port while no connection can be accepted.

    Twisted's own ports log errors without end, drop clients where no descriptor is left, and are
    closed without a word when the system reports their socket as disconnected.
    """

    def __init__(self, reactor: Any, port: Any, task: Task, admits: Callable[[], bool]) -> None:
        self._reactor, self._port = reactor, port
        self._socket = port.socket
        self.n_connections: int = 0
        self._accepting = Accepting(task, lambda: self.n_connections, admits)
        self._timer: Any = None
        self._lost = port.connectionLost
        port.socket, port.connectionLost = self, self._connection_lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection and its address.

        Raises:
            BlockingIOError: there is none, or the port pauses.
        """
        found = self._accepting.accept(self._socket)
        if found is not None:
            return found
        if self._accepting.pause and self._timer is None:
            self._port.stopReading()
            self._timer = self._reactor.callLater(self._accepting.pause, self._try_again)
        raise BlockingIOError(EWOULDBLOCK, "")

    def _try_again(self) -> None:
        self._timer = None
        self._port.startReading()
        self._port.doRead()

    def _connection_lost(self, reason: Any) -> None:
        reactor = self._reactor
        if reactor.running and not reactor._stopped and not self._port.disconnecting:
            self._port.doRead()  # says what is wrong, and pauses
            if self._timer is None:
                self._port.startReading()
        else:
            self._lost(reason)

    def watch(self, connection: Any) -> None:
        """Count a connection until it ends."""
        lost = connection.connectionLost
        self.n_connections += 1

        def connection_lost(*args: Any) -> None:
            self.n_connections -= 1
            lost(*args)
            if self._accepting.recount() and self._timer is not None:
                self._timer.reset(0)

        connection.connectionLost = connection_lost

    def stop(self) -> None:
        """Accept no more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._accepting.stop()


def adopt_port(reactor: Any, sock: socket.socket, factory: Any, backlog: int) -> Any:
    """Return a port of Twisted's on a duplicate of a socket that listens.

    Twisted takes the file of a Unix socket for its own: it would let everybody use it, and remove
    it at the end. So it is shown a name that is in no file system.
    """
    if sock.family != AF_UNIX:
        return reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
    port: Any = UNIXPort._fromListeningDescriptor(reactor, sock.fileno(), factory)
    name = "_bindPath" if hasattr(port, "_bindPath") else "port"  # older versions have the latter
    path = getattr(port, name)
    setattr(port, name, (b"\0" if isinstance(path, bytes) else "\0") + path)
    port.backlog = backlog
    port.startListening()
    return port


def _address(port: Any) -> Any:
    """Return what a port is bound to, as `socket.getsockname` returns it."""
    host = port.getHost()
    if isinstance(host, UNIXAddress):
        return host.name
    listening = getattr(port, "socket", None)
    return (host.host, host.port) if listening is None else listening.getsockname()


def _lose(connection: Any) -> None:
    """Close a connection; through what speaks TLS on it, if something does."""
    closing = getattr(connection.protocol, "loseConnection", None)
    (closing or connection.loseConnection)()
