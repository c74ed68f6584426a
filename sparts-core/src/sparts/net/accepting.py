"""Accepting connections, also when the system refuses: a pause, and a warning while it lasts."""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from typing import TYPE_CHECKING, Any

from sparts.clock import retry_delay
from sparts.net.options import format_address
from sparts.protocols import service_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    from sparts.protocols import Task

AT_ONCE = 128
"""How many connections are accepted before other callbacks get their turn."""
PAUSE = 0.25
"""Seconds to wait after a failure; twice as many after each further one."""
LONGEST_PAUSE = 2.0
"""Seconds; the most that it becomes."""

_NAMES = "CONNABORTED PROTO NETDOWN NETUNREACH HOSTDOWN HOSTUNREACH NONET NOPROTOOPT PERM"
_CLIENT = {getattr(errno, f"E{name}", None) for name in _NAMES.split()}
"""What accept(2) says of the connection that it would have returned, and not of the socket."""


class Backoff:
    """What fails and is tried again: how long to wait, and whom to inform.

    The first failure is logged. From the second in a row on it is a warning of the service, until
    an attempt succeeds. To be used by one thread at a time.

    Args:
        task: whose name, logger and service to use.
        what: what cannot be done, as part of a sentence.
    """

    def __init__(self, task: Task, what: str) -> None:
        self._task, self._what = task, what
        self._failures = 0
        self._warning: int | None = None

    def failed(self, error: OSError) -> float:
        """Note a failure, and return the seconds until the next attempt."""
        self._failures += 1
        message = f"{self._what}: {error.strerror or error}"
        if self._failures == 1:
            self._task.logger.warning("%s", message)
        elif self._warning is None:
            self._warning = self._task.service.registerWarning(f"{self._task.name}: {message}")
        return retry_delay(self._failures - 1, PAUSE, LONGEST_PAUSE, jitter=0.0)

    def succeeded(self) -> None:
        """Note that it works; costs next to nothing if it worked before."""
        if self._failures:
            self._failures = 0
            if self._warning is not None:
                self._task.service.clearWarning(self._warning)
                self._warning = None
                self._task.logger.info("No longer true: %s", self._what)


class Accepting:
    """Accepts for one server task, by whichever loop waits for its sockets.

    Args:
        task: the task.
        connections: returns how many are open, for its share among processes; None: there is none.
    """

    def __init__(self, task: Task, connections: Callable[[], int] | None = None) -> None:
        self._backoff = Backoff(task, "No connection can be accepted for now")
        copy = service_of(task).hooks.kept.get("processes") if connections else None
        self._share = copy.share(task.name, connections) if copy else None
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
        problem = OSError()
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
            return found
        self.pause = self._backoff.failed(problem)
        return None

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
        self._accepting = Accepting(task, connections)
        self._logger = task.logger
        self._accepted = accepted
        self._admits, self._full = admits, False
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
            if self._admits():
                self._full = False
                self._accepted(*found)
            else:
                self._refuse(*found)
        if self._accepting.pause and self._paused is None:
            self._end()
            self._paused = self._loop.call_later(self._accepting.pause, self._try_again)

    def _refuse(self, connection: socket.socket, address: Any) -> None:
        if not self._full:
            self._logger.warning(
                "%s was disconnected, as everybody is who comes now: too many connections are open",
                format_address(address) or "a client",
            )
        self._full = True
        connection.close()

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


#: Seconds until asyncio tries again by itself, where the process has no descriptor left.
ASYNCIO_PAUSE = 1.0


class AcceptFaults:
    """Takes reports about ``asyncio.start_server`` and ``loop.create_server``.

    asyncio repeats an error that it does not expect without end, and logs others each second. Only
    for the loop's thread.
    """

    def __init__(self, task: Task) -> None:
        self._backoff = Backoff(task, "No connection can be accepted for now")
        self._quiet: asyncio.TimerHandle | None = None

    def take(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> bool:
        """Return whether a report is of this kind, and act on it.

        Args:
            loop: where it comes from.
            context: what its exception handler gets.
        """
        error = context.get("exception")
        if not isinstance(error, OSError):
            return False
        callback = getattr(context.get("handle"), "_callback", None)
        repeats = getattr(callback, "__name__", "") == "_accept_connection"
        if not repeats and not str(context.get("message")).startswith("socket.accept()"):
            return False
        pause = self._backoff.failed(error)
        if repeats:  # asyncio pauses after the others
            self._pause(loop, context["handle"], pause)
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = loop.call_later(pause + 2 * ASYNCIO_PAUSE, self._backoff.succeeded)
        return True

    @staticmethod
    def _pause(loop: asyncio.AbstractEventLoop, handle: Any, seconds: float) -> None:
        callback, arguments = handle._callback, handle._args
        listener = arguments[1]

        def again() -> None:
            if listener.fileno() >= 0:  # else the server was closed
                loop.add_reader(listener, callback, *arguments)

        loop.remove_reader(listener)
        loop.call_later(seconds, again)
