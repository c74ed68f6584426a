"""The mixin of server tasks whose sockets the service opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from sparts.net import Address as Address
from sparts.net import TLSFiles as TLSFiles
from sparts.net import format_address as format_address
from sparts.net.options import ListeningOptions
from sparts.net.sockets import Listeners as Listeners
from sparts.shown import ours, service_of

if TYPE_CHECKING:
    import socket


class Listening(ListeningOptions):
    """A mixin for server tasks: the options of their sockets, and the sockets.

    The service opens them before any task is initialised. A server takes its own with
    `take_sockets`, speaks TLS on their connections where there is an `ssl_context`, gives them up
    with `stop_listening` when it stops, and calls `close_sockets` when it has ended.
    """

    _binds_itself: ClassVar[bool] = False
    _sockets: list[socket.socket]

    def take_sockets(self) -> list[socket.socket]:
        """Return this instance's non-blocking duplicates of its listening sockets.

        Connections that they accept send without delay (``TCP_NODELAY``).
        """
        self._close_duplicates()
        self._sockets = service_of(self).listeners.duplicates(ours(self).name)
        return self._sockets

    def stop_listening(self) -> list[socket.socket]:
        """Close this task's sockets, and return the connections that wait in them, non-blocking.

        Call it at the stop, from any thread that does not accept any more, and serve what it
        returns: a connection that waits in a socket which closes is reset. At a restart it returns
        none, since those are the next instance's.
        """
        self._close_duplicates()
        waiting: list[socket.socket] = []
        if not service_of(self).health.restarting:
            waiting = service_of(self).listeners.close(ours(self).name, take=True)
        return waiting

    def close_sockets(self) -> None:
        """Close the duplicates and, unless the service restarts, the process's own sockets."""
        self._close_duplicates()
        service = service_of(self)
        if not service.health.restarting and "listeners" in service.hooks.kept:
            service.listeners.close(ours(self).name)

    def _close_duplicates(self) -> None:
        for sock in getattr(self, "_sockets", ()):
            sock.close()
        self._sockets = []
