"""Accepting connections, also when the process has no descriptor left for one more."""

from __future__ import annotations

import errno
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from sparts.net.listeners import format_address

from tornado.ioloop import IOLoop

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

#: How many connections are accepted before other callbacks get their turn.
AT_ONCE = 128

#: Seconds to wait for descriptors to become free.
PAUSE = 0.25

_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Accepts on some listening sockets, in the loop's thread.

    Tornado's own handler would be called again at once, without end, where no descriptor is left.
    This one pauses: who comes meanwhile waits in the listener.

    Args:
        sockets: listening, non-blocking.
        accepted: called with each connection and its address.
        admits: whether one more connection may be open; one that may not is disconnected.
        logger: told when it pauses.
    """

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        accepted: Callable[[socket.socket, Any], None],
        admits: Callable[[], bool],
        logger: logging.Logger,
    ) -> None:
        self._loop = IOLoop.current()
        self._sockets = list(sockets)
        self._accepted = accepted
        self._admits = admits
        self._full = False
        self._logger = logger
        self._pause: object = None
        self._told = False
        self._begin()

    def _begin(self) -> None:
        self._pause = None
        for sock in self._sockets:
            self._loop.add_handler(sock, partial(self._accept, sock), IOLoop.READ)

    def _end(self) -> None:
        for sock in self._sockets:
            self._loop.remove_handler(sock)

    def _accept(self, sock: socket.socket, *_: object) -> None:
        for _number in range(AT_ONCE):
            try:
                connection, address = sock.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:  # a client that has given up
                continue
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self._wait(error)
                return
            self._told = False
            if self._admits():
                self._full = False
                self._accepted(connection, address)
            else:
                self._refuse(connection, address)

    def _refuse(self, connection: socket.socket, address: Any) -> None:
        if not self._full:
            who = format_address(address) or "a client"
            self._logger.warning(
                "%s was disconnected, as everybody is who comes now: too many connections are open",
                who,
            )
        self._full = True
        connection.close()

    def _wait(self, error: OSError) -> None:
        if not self._told:
            self._logger.warning("No connection can be accepted for now: %s", error.strerror)
            self._told = True
        self._end()
        self._pause = self._loop.call_later(PAUSE, self._begin)

    def stop(self) -> None:
        """Accept no more; the sockets stay open."""
        if self._pause is not None:
            self._loop.remove_timeout(self._pause)
        else:
            self._end()
        self._sockets = []
