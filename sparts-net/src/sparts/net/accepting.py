"""Accepting connections, also when the system refuses: a pause, and a warning while it lasts."""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Any

from sparts.accept_faults import AcceptFaults as AcceptFaults
from sparts.accept_faults import Backoff as Backoff
from sparts.net import format_address
from sparts.shown import service_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from sparts.net.sharing import Share
    from sparts.protocols import Task

AT_ONCE = 128
"""How many connections are accepted before other callbacks get their turn."""

_NAMES = "CONNABORTED PROTO NETDOWN NETUNREACH HOSTDOWN HOSTUNREACH NONET NOPROTOOPT PERM"
_CLIENT = {getattr(errno, f"E{name}", None) for name in _NAMES.split()}
"""What accept(2) says of the connection that it would have returned, and not of the socket."""


class Accepting:
    """Accepts for one server task, by whichever loop waits for its sockets.

    Args:
        task: the task.
        connections: returns how many are open, for its share among processes; None: there is none.
        admits: whether one more connection may be open; one that may not is disconnected.
    """

    def __init__(
        self,
        task: Task,
        connections: Callable[[], int] | None = None,
        admits: Callable[[], bool] = lambda: True,
    ) -> None:
        self._backoff = Backoff(task, "No connection can be accepted for now")
        self._logger = task.logger
        self._admits, self._full = admits, False
        self._share: Share | None = None
        copy = service_of(task).hooks.kept.get("processes")
        if copy is not None and connections is not None:
            from sparts.net.sharing import share_of  # few need it

            self._share = share_of(copy, task, connections)
        self.pause: Any = 0.0
        """Seconds to wait until the next call of `accept`; 0: until somebody connects."""

    def accept(self, listener: socket.socket) -> tuple[socket.socket, Any] | None:
        """Return a connection and its address; None: nobody waits, or `pause` is set.

        Args:
            listener: non-blocking.
        """
        if self._share is not None:
            self.pause = self._share.pause(listener)
            if self.pause:
                return None
        problem: OSError | None = None
        for _ in range(AT_ONCE):
            try:
                found: tuple[socket.socket, Any] | None = listener.accept()
            except BlockingIOError:
                found = None
            except OSError as error:
                problem = error
                if error.errno in _CLIENT:
                    continue
                break
            self.works()
            problem = None
            if found is None:
                return None
            if self._admits():
                self._full = False
                return found
            self._refuse(*found)
        if problem is not None:
            self.pause = self._backoff.failed(problem)
        return None

    def _refuse(self, connection: socket.socket, address: Any) -> None:
        if not self._full:
            self._logger.warning(
                "%s was disconnected, as everybody is who comes now: too many connections are open",
                format_address(address) or "a client",
            )
        self._full = True
        connection.close()

    def recount(self) -> bool:
        """Note that a connection has ended; return whether to accept again before `pause` is over.

        So a process is not idle while it leaves connections to others.
        """
        return self._share is not None and bool(self._share.recount())

    def works(self) -> None:
        """End the pause and the warning, if there are any."""
        self.pause = 0.0
        self._backoff.succeeded()

    def stop(self) -> None:
        """Accept no more: what comes is for other processes, if there are any."""
        self.works()
        if self._share is not None:
            self._share.leave()


class Acceptor:
    """Accepts on some listening sockets, in the thread of a running asyncio loop.

    asyncio's own accept loop repeats an error without end, or logs it each second. This one pauses:
    who comes meanwhile waits in the socket.

    Args:
        task: the server task.
        sockets: listening, non-blocking; they stay the caller's.
        accepted: called with each connection, which may block, and its address.
        admits: whether one more connection may be open; one that may not is disconnected.
        connections: returns how many are open.
    """

    def __init__(
        self,
        task: Task,
        sockets: Iterable[socket.socket],
        accepted: Callable[[socket.socket, Any], None],
        admits: Callable[[], bool] = lambda: True,
        connections: Callable[[], int] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._accepting = Accepting(task, connections, admits)
        self._accepted = accepted
        self._sockets = list(sockets)
        self._paused: asyncio.TimerHandle | None = None
        self._begin()

    def _begin(self) -> None:
        self._paused = None
        for sock in self._sockets:
            self._loop.add_reader(sock, partial(self._accept, sock))

    def _end(self) -> None:
        for sock in self._sockets:
            self._loop.remove_reader(sock)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            found = self._accepting.accept(listener)
            if found is None:
                break
            self._accepted(*found)
        if self._accepting.pause and self._paused is None:
            self._end()
            self._paused = self._loop.call_later(self._accepting.pause, self._try_again)

    def _try_again(self) -> None:
        self._begin()
        for sock in self._sockets:
            if self._paused is None:
                self._accept(sock)

    def recount(self) -> None:
        """Note that a connection has ended."""
        if self._accepting.recount() and self._paused is not None:
            self._paused.cancel()
            self._try_again()

    def stop(self) -> None:
        """Accept no more; the sockets stay open."""
        if self._paused is not None:
            self._paused.cancel()
            self._paused = None
        else:
            self._end()
        self._sockets = []
        self._accepting.stop()
