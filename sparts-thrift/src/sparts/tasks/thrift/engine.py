"""The engine of NBServerTask: a few threads that share one epoll, and whole frames.

Whichever thread is told that a client has sent something reads it, makes the call, and sends the
answer, without handing anything to another. There are more threads than calls may run at a time,
so that one is always there to talk to the clients: a call for which there is no room waits, and so
does its client. Events are edge-triggered, so that nothing has to be told to the kernel between
calls.

A client that is the only one has a thread that waits in its read, while another waits for events:
of new clients, and of the end. It is so until the first request that comes when there are more.

Threads that are not needed rest: the fewer wait for events, the cheaper is each. One that begins a
call while no other is left to talk to the clients wakes one. So there are as many awake as the
calls take; and where these wait for nothing, one: two would wait for the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
from collections import deque
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.errors import LoopStoppedError
from sparts.tasks.thrift.connection import Connection, TLSConnection
from sparts.tasks.thrift.deadlines import Deadlines

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from sparts.tasks.thrift.nbserver import NBServerTask
    from sparts.thrift.processor import Call

_LISTEN = select.EPOLLIN | select.EPOLLET
_TALK = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
_BATCH = 16
"""Events that a thread takes at once where no call waits for anything."""
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_RETRY_ACCEPT = 1.0


class Engine:
    """Serves the connections of one server task, in its threads.

    Args:
        task: the server task, whose options, router, counters and logger it uses.
    """

    def __init__(self, task: NBServerTask) -> None:
        self.task = task
        self.logger = task.logger
        self.read = task.router.read
        self.max_frame: int = task.max_frame
        self.max_frame_flag = f"--{task.option_prefix().replace('_', '-')}-max-frame"
        self.idle_timeout: float = task.idle_timeout or 0.0
        self.request_timeout: float = task.request_timeout or inf
        self.n_bad_requests = task.n_bad_requests
        self.draining = False
        self.emptied = threading.Event()
        """Set when the server stops and there is no connection any more."""
        self.connections: dict[int, Connection] = {}
        self.waiting: deque[tuple[Connection, Call]] = deque()
        """Calls for which there is no room yet, each with its connection, which is claimed."""
        self.deadlines = Deadlines(self, task.logger.name)
        self._most_calls = task.n_threads
        self._room = [None] * self._most_calls
        self._inline = task.all_inline
        self._batch = _BATCH if self._inline else 1
        self._crew = threading.Condition()  # guards the three that follow, and where threads rest
        self._awake = 0
        self._resting = 0
        self._woken = 0
        self._spare = 1 if self._inline else 2  # those awake beyond the ones that make calls
        self._listeners: dict[int, socket.socket] = {}
        self._accepting = threading.Lock()
        self._crowded = False
        self.alone = False
        """Whether there is one client, for which a thread may wait in its read."""
        self.over = False
        """Whether the threads have ended, or are about to."""
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)

    # -- beginning and end; in the lifecycle thread ------------------------------------------------

    def listen(self, sockets: list[socket.socket]) -> None:
        """Begin to accept connections."""
        self.deadlines.start()
        for sock in sockets:
            self._listeners[sock.fileno()] = sock
            self._epoll.register(sock.fileno(), _LISTEN)

    def drain(self, stop_listening: Callable[[], list[socket.socket]]) -> None:
        """Accept no more, finish what has come, and close each connection that has nothing more."""
        with self._accepting:
            for descriptor in self._listeners:
                self._epoll.unregister(descriptor)
            self._listeners.clear()
            for sock in stop_listening():
                with contextlib.suppress(OSError):  # it has gone
                    self._add(sock, sock.getpeername())
            self.draining, self.alone = True, False
        if not self.connections:
            self.emptied.set()
        for connection in list(self.connections.values()):
            if connection.attended:
                connection.release()
            else:
                self.requeue(connection)

    def finish(self) -> None:
        """Have the threads end when they have done what they do now."""
        with self._crew:
            self.over = True
            self._crew.notify_all()
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close what is left; after the end of the threads."""
        self.deadlines.stop()
        for connection in list(self.connections.values()):
            if connection.claim.acquire(False):
                connection.close()
            else:  # a coroutine goes on: its end closes it, and the client learns of it now
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        self._epoll.close()
        os.close(self._wake)

    # -- the threads -------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the end; the body of each thread."""
        with self._crew:
            self._awake += 1
        try:
            self._serve()
        finally:
            with self._crew:
                self._awake -= 1
            self._wake_one()

    def _serve(self) -> None:
        poll, connections, waiting = self._epoll.poll, self.connections, self.waiting
        while not self.over:
            if self._awake > self._most_calls - len(self._room) + self._spare:
                self._rest()
            for descriptor, events in poll(None, self._batch):
                connection = connections.get(descriptor)
                if connection is not None:
                    connection.resume(events)
                elif descriptor in self._listeners:
                    self._accept(descriptor)
            if waiting:
                self._make_waiting_calls()

    def _rest(self) -> None:
        """Wait until one thread more is needed, if this one is not."""
        with self._crew:
            self._awake -= 1
            # Looked at after that: who begins a call meanwhile sees that there is one thread less.
            if self.over or self._awake < self._most_calls - len(self._room) + self._spare:
                self._awake += 1
                return
            self._resting += 1
            self._crew.wait_for(lambda: self._woken or self.over)
            if self.over:
                self._awake += 1
            else:
                self._woken -= 1

    def _wake_one(self) -> None:
        """Have one more thread be awake, if one rests."""
        with self._crew:
            if self._resting:
                self._resting -= 1
                self._awake += 1
                self._woken += 1
                self._crew.notify()

    def _see_who_is_alone(self) -> None:
        """See whether there is one client only."""
        self.alone = len(self.connections) == 1 and not self.idle_timeout and not self.draining

    def _accept(self, descriptor: int) -> None:
        with self._accepting:
            listener = self._listeners.get(descriptor)
            while listener is not None:
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    return
                except ConnectionError:
                    continue
                except OSError as error:
                    if error.errno not in _FULL:
                        raise
                    self._crowd(error)
                    return
                self._crowded = False
                with contextlib.suppress(OSError):  # it has gone
                    self._add(sock, address)

    def _crowd(self, error: OSError) -> None:
        """Accept again later: the process has no descriptor or memory left for a connection."""
        if not self._crowded:
            self.logger.error("New connections have to wait: %s", error.strerror)
        self._crowded = True
        self.deadlines.expect(monotonic() + _RETRY_ACCEPT)

    def _add(self, sock: socket.socket, address: Any) -> None:
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        context = self.task.ssl_context
        connection: Connection
        if context is None:
            sock.setblocking(True)
            connection = Connection(self, sock, address)
        else:
            sock.setblocking(False)
            secure = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            connection = TLSConnection(self, secure, address)
        descriptor = connection.sock.fileno()
        self.connections[descriptor] = connection
        self.task.n_accepted.increment()
        if self.idle_timeout:
            self.deadlines.expect(connection.active + self.idle_timeout)
        self._see_who_is_alone()
        self._epoll.register(descriptor, _TALK)

    def requeue(self, connection: Connection) -> None:
        """Have a connection resumed after those that are due before it; from any thread."""
        with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile
            self._epoll.modify(connection.sock.fileno(), _TALK)

    def attends(self, connection: Connection) -> None:
        """Note that this thread waits in the read of a connection, and not for events."""
        self._epoll.unregister(connection.sock.fileno())
        with self._crew:
            self._awake -= 1
        if self._awake <= self._most_calls - len(self._room):
            self._wake_one()

    def left(self, connection: Connection) -> None:
        """Note that it does not any more."""
        with self._crew:
            self._awake += 1
        with contextlib.suppress(OSError, ValueError):  # it has gone, or the engine has
            self._epoll.register(connection.sock.fileno(), _TALK)

    def forget(self, connection: Connection) -> None:
        """Take out a connection that is about to be closed."""
        descriptor = connection.sock.fileno()
        if self.connections.get(descriptor) is connection:
            with contextlib.suppress(ValueError):  # the engine was closed
                self._epoll.unregister(descriptor)
            del self.connections[descriptor]
            self._see_who_is_alone()
        if self.draining and not self.connections:
            self.emptied.set()

    # -- calls -------------------------------------------------------------------------------------

    def call(self, connection: Connection, call: Call) -> bytes | None:
        """Make a call if there is room, and return its answer; None: it comes later."""
        method, wire, sequence, arguments = call
        if method.asynchronous:
            connection.leave()
            self._call_async(connection, call)
            return None
        try:
            self._room.pop()
        except IndexError:
            connection.leave()
            self.waiting.append((connection, call))
            return None
        if self._awake <= self._most_calls - len(self._room):
            self._wake_one()
        try:
            return method.run(wire, sequence, arguments)
        finally:
            self._room.append(None)

    def _make_waiting_calls(self) -> None:
        """Make calls that wait while there is room; by whoever has made some, or let one wait."""
        while self.waiting:
            try:
                self._room.pop()
            except IndexError:
                return
            try:
                connection, call = self.waiting.popleft()
            except IndexError:
                self._room.append(None)
                continue
            if self._awake <= self._most_calls - len(self._room):
                self._wake_one()
            try:
                method, wire, sequence, arguments = call
                answer = method.run(wire, sequence, arguments)
            finally:
                self._room.append(None)
            connection.answered(answer)

    def _call_async(self, connection: Connection, call: Call) -> None:
        """Have a coroutine begin on the asyncio loop."""
        method, wire, sequence, arguments = call

        def ended(future: Future[bytes]) -> None:
            try:
                answer = future.result()
            except BaseException:  # the loop has ended, or somebody cancelled it
                answer = method.failed(wire, sequence)
            connection.answered_elsewhere(answer)

        try:
            future = method.handler.loop_task.call(
                method.run_async, wire, sequence, arguments, connection.caller
            )
        except LoopStoppedError:
            connection.answered_elsewhere(method.failed(wire, sequence))
        else:
            future.add_done_callback(ended)

    # -- the clock's thread ------------------------------------------------------------------------

    def look_at_time(self, now: float) -> float:
        """Close what is due, and return when the next will be."""
        due = inf
        if self._crowded:
            due = now + _RETRY_ACCEPT
            with self._accepting, contextlib.suppress(OSError):
                for descriptor in self._listeners:
                    self._epoll.modify(descriptor, _LISTEN)
        for connection in list(self.connections.values()):
            at = self._due(connection)
            if at <= now and connection.claim.acquire(False):
                if self._due(connection) <= now:
                    self._time_out(connection)
                    continue
                connection.claim.release()
                if connection.again:
                    self.requeue(connection)
            due = min(due, at if at > now else now)
        return due

    def _due(self, connection: Connection) -> float:
        if connection.began:
            return connection.began + self.request_timeout
        return connection.active + self.idle_timeout if self.idle_timeout else inf

    def _time_out(self, connection: Connection) -> None:
        self.task.n_timeouts.increment()
        if connection.began:
            self.logger.warning(
                "%s was closed: a request or its answer was under way for longer than %g s",
                connection.caller,
                self.request_timeout,
            )
        connection.close()
