"""Accepts the connections of a thrift server, as many as there may be."""

from __future__ import annotations

import contextlib
import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.net.listeners import format_address
from sparts.tasks.thrift.polling import HAS_EPOLL, LISTEN
from sparts.tasks.thrift.serving import Parted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sized

    from sparts.tasks.thrift.settings import Settings


class Acceptor:
    """The listening sockets of a server.

    Args:
        settings: the options of the server.
        epoll: reports when there is something to accept.
        connections: those that are open.
        add: called with each new connection, with `lock` held.
        retry_at: called with the time (of `time.monotonic`) of the next attempt, after one that
            failed; it has to call `try_again` then.
    """

    def __init__(
        self,
        settings: Settings,
        epoll: Any,
        connections: Sized,
        add: Callable[[Parted], None],
        retry_at: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._epoll = epoll
        self._connections = connections
        self._add = add
        self._retry_at = retry_at
        self.listeners: dict[int, socket.socket] = {}
        self.lock: threading.Lock = threading.Lock()
        self._full = False

    def listen(self, sockets: Iterable[socket.socket]) -> None:
        """Accept on these sockets."""
        for sock in sockets:
            self.listeners[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), LISTEN)

    def listen_again(self, descriptor: int | None = None) -> None:
        """Have it reported again what there is to accept: on one socket, or on all."""
        for each in [descriptor] if descriptor is not None else list(self.listeners):
            with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile
                self._epoll.modify(each, LISTEN)

    def stop(self) -> None:
        """Accept no more; `lock` is held."""
        for descriptor in self.listeners:
            self._epoll.unregister(descriptor)
        self.listeners.clear()
        self._settings.accepting.stop()

    def try_again(self) -> None:
        """Accept after a pause, if there was one."""
        if self._settings.accepting.pause:
            for descriptor in list(self.listeners):
                self.accept(descriptor)

    def accept(self, descriptor: int) -> None:
        """Accept what waits in one of the sockets."""
        with self.lock:
            listener = self.listeners.get(descriptor)
            while listener is not None:
                found = self._settings.accepting.accept(listener)
                if found is None:
                    if self._settings.accepting.pause:
                        self._retry_at(monotonic() + self._settings.accepting.pause)
                    elif not HAS_EPOLL:
                        self.listen_again(descriptor)
                    return
                sock, address = found
                if len(self._connections) >= self._settings.max_connections:
                    self._refuse(sock, address)
                    continue
                self._full = False
                with contextlib.suppress(OSError):  # it has gone
                    self._add(Parted(sock, address))

    def _refuse(self, sock: socket.socket, address: Any) -> None:
        """Close a new connection: there are as many as there may be."""
        self._settings.n_refused.increment()
        if not self._full:
            self._settings.logger.warning(
                "%s was disconnected, as everybody is who comes now: too many connections are open "
                "(%d; see %s-max-connections)",
                format_address(address) or "a client",
                len(self._connections),
                self._settings.flag,
            )
        self._full = True
        sock.close()
