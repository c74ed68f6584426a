"""The engine of NBServerTask: a few threads that share one epoll, and whole frames.

The thread that learns that a client has sent something reads it, makes the call, and sends the
answer, without handing anything to another. There are more threads than calls may run at a time,
so that one is always there to talk to the clients: a call for which there is no room waits, and so
does its client. `Crew` says how many of the threads are awake. Events are edge-triggered, so that
the kernel needs no call between them.

A client that is the only one has a thread that waits in its read, while another waits for events:
of new clients, and of the end. It is so until the first request that comes when there are more.

At a restart the connections are handed to the engine of the next instance, with what was read from
them and is not answered, so that no client notices.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import deque
from logging import Logger
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from sparts.errors import LoopStoppedError, message_of
from sparts.tasks.thrift.accepting import Acceptor
from sparts.tasks.thrift.connection import Connection
from sparts.tasks.thrift.crew import Crew
from sparts.tasks.thrift.deadlines import COARSE, Deadlines
from sparts.tasks.thrift.polling import HAS_EPOLL, IN, TALK, Claim, new_poll
from sparts.tasks.thrift.secure import TLSConnection
from sparts.tasks.thrift.serving import Parted
from sparts.thrift.memory import NoRoomError
from sparts.thrift.processor import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from sparts.tasks.thrift.settings import Settings
    from sparts.thrift.processor import Call

_BATCH = 16
"""Events that are taken at once."""


class Engine:
    """Serves the connections of one server task, in its threads.

    Args:
        settings: the options of the task, and its counters.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.logger: Logger = settings.logger
        self.draining: bool = False
        """Whether each connection is closed that has nothing more."""
        self.leaving: bool = False
        """Whether no more calls begin: each connection is handed on or closed after its call."""
        self.emptied: threading.Event = threading.Event()
        """Set when the server stops and there is no connection any more."""
        self.connections: dict[int, Connection] = {}
        self.waiting: deque[Connection] = deque()
        """Connections with a call for which there is no room yet; each is claimed."""
        self.waiting_large: deque[Connection] = deque()
        """The same with requests that are large, and not decoded yet."""
        self.parted: list[Parted] = []
        """Connections that the next instance goes on with."""
        self.last_call: float = inf
        """At the stop: until when (of `time.monotonic`) clients may begin with a request."""
        self.alone: bool = False
        """Whether there is one client, for which a thread may wait in its read."""
        limits = (settings.request_timeout, settings.idle_timeout)
        self.deadlines: Deadlines = Deadlines(self._look_at_time, limits, settings.logger.name)
        self._crew = Crew(settings.threads, self._give_up_events, settings.logger.name)
        self._parting = False
        self._events: deque[tuple[int, int]] = deque()  # taken, and not looked at yet
        self._epoll = new_poll()
        self._woken, self._wake = os.pipe()
        self._epoll.register(self._woken, IN)
        self._acceptor = Acceptor(
            settings, self._epoll, self.connections, self._add, self.deadlines.expect
        )

    # -- beginning and end; in the lifecycle thread ------------------------------------------------

    def listen(self, sockets: Iterable[socket.socket], parted: Iterable[Parted]) -> None:
        """Begin to accept connections, and go on with those of the last instance."""
        self.deadlines.start()
        self._crew.start()
        for each in parted:
            self._add(each)
        self._acceptor.listen(sockets)

    def drain(self, stop_listening: Callable[[], list[socket.socket]], restarting: bool) -> None:
        """Accept no more, and let what has begun finish.

        At a restart, connections are handed on as soon as no call of theirs is under way. Else
        those are served once more that wait to be accepted or were just now active.
        """
        with self._acceptor.lock:
            self._acceptor.stop()
            waiting = stop_listening()
            self.alone = False
            self.last_call = monotonic() + self.settings.grace
            self.deadlines.step = min(self.deadlines.step, self.settings.grace * COARSE)
            self._parting = self.leaving = restarting
            self.draining = True
            for sock in waiting:
                with contextlib.suppress(OSError):  # it has gone
                    self._add(Parted(sock, sock.getpeername()))
        self._give_back_waiting()
        self.emptied.clear()
        for connection in list(self.connections.values()):
            if connection.attended:
                connection.release()
            else:
                self.requeue(connection)
        if not self.connections:
            self.emptied.set()

    def drain_after_all(self, stop_listening: Callable[[], list[socket.socket]]) -> None:
        """Serve those once more whom the next instance was to serve: there will be none."""
        self._parting = self.leaving = False
        parted, self.parted = self.parted, []
        for each in parted:
            self._add(each)
        self.drain(stop_listening, restarting=False)

    def finish(self) -> int:
        """Have no more calls begin, and the threads end; return how many clients are cut off."""
        cut = sum(connection.busy for connection in list(self.connections.values()))
        self.leaving = True
        self._crew.finish()
        os.write(self._wake, b"\0")  # never read: it wakes every thread
        return cut

    def close(self) -> None:
        """Close what is left; after the end of the threads."""
        self.deadlines.stop()
        self._crew.join()
        self._give_back_waiting()
        for connection in list(self.connections.values()):
            if connection.claim.acquire(False):
                connection.depart()
            else:  # a coroutine goes on: its end closes it, and the client learns of it now
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)
        self._epoll.close()
        os.close(self._woken)
        os.close(self._wake)

    def _give_back_waiting(self) -> None:
        """Let go of calls that wait, if no more begin."""
        for waiting in (self.waiting, self.waiting_large):
            while self.leaving and waiting:
                connection = waiting.popleft()
                connection.claim.release()
                self.requeue(connection)

    def part(self, parted: Parted) -> bool:
        """Take a connection, which is about to be forgotten, for the next instance, if it is to
        be handed on."""
        if self._parting:
            self.parted.append(parted)
        return self._parting

    # -- the threads -------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the end; the body of each thread."""
        self._crew.enter()
        try:
            self._serve()
        finally:
            self._crew.leave()

    def _serve(self) -> None:
        poll, connections = self._epoll.poll, self.connections
        waiting, large = self.waiting, self.waiting_large
        events, crew, acceptor = self._events, self._crew, self._acceptor
        while not crew.over:
            try:
                descriptor, what = events.popleft()
            except IndexError:
                if crew.crowded:
                    crew.rest()
                else:
                    events.extend(poll(None, _BATCH))
                continue
            connection = connections.get(descriptor)
            if connection is not None:
                connection.resume(what)
            elif descriptor in acceptor.listeners:
                acceptor.accept(descriptor)
            if waiting or large:
                self._make_waiting_calls()

    def _give_up_events(self) -> None:
        """Leave events that were taken to whichever thread waits for some."""
        while self._events:
            try:
                descriptor, _ = self._events.popleft()
            except IndexError:
                return
            if connection := self.connections.get(descriptor):
                self.requeue(connection)
            elif descriptor in self._acceptor.listeners:
                self._acceptor.listen_again(descriptor)

    def _add(self, new: Parted) -> None:
        sock = new.sock
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        context = self.settings.ssl_context
        connection: Connection
        if context is None:
            sock.setblocking(HAS_EPOLL)
            connection = Connection(self, new)
        else:
            sock.setblocking(False)
            connection = TLSConnection(self, new, context)
        if not HAS_EPOLL:
            connection.claim = Claim(self._epoll, connection)
        descriptor = connection.sock.fileno()
        self.connections[descriptor] = connection
        if not new.known:
            self.settings.n_accepted.increment()
        if self.settings.idle_timeout:
            self.deadlines.expect(connection.active + self.settings.idle_timeout)
        self._see_who_is_alone()
        self._epoll.register(descriptor, TALK)

    def _see_who_is_alone(self) -> None:
        """See whether there is one client only."""
        one = len(self.connections) == 1
        self.alone = one and HAS_EPOLL and not (self.settings.idle_timeout or self.draining)

    # -- for connections; from any thread ----------------------------------------------------------

    def requeue(self, connection: Connection) -> None:
        """Have a connection resumed after those that are due before it."""
        with contextlib.suppress(OSError, ValueError):  # it was closed meanwhile
            self._epoll.modify(connection.sock.fileno(), TALK)

    def attends(self, connection: Connection) -> None:
        """Note that this thread waits in the read of a connection, and not for events."""
        self._epoll.unregister(connection.sock.fileno())
        self._crew.leave()

    def left(self, connection: Connection) -> None:
        """Note that it does not any more."""
        self._crew.enter()
        with contextlib.suppress(OSError, ValueError):  # it has gone, or the engine has
            self._epoll.register(connection.sock.fileno(), TALK)

    def forget(self, connection: Connection) -> None:
        """Take out a connection that is about to be closed or handed on."""
        descriptor = connection.sock.fileno()
        if self.connections.get(descriptor) is connection:
            with contextlib.suppress(OSError, ValueError):  # the engine was closed
                self._epoll.unregister(descriptor)
            del self.connections[descriptor]
            self._see_who_is_alone()
            if self.settings.accepting.recount():
                self.deadlines.expect(monotonic())
        if self.draining and not self.connections:
            self.emptied.set()

    # -- calls -------------------------------------------------------------------------------------

    def call(self, connection: Connection, call: Call) -> bytes | None:
        """Make a call if there is room, and return its answer; None: it comes later.

        Raises:
            RefusedError: there is no memory for it.
        """
        method, wire, sequence, arguments, _ = call
        if method.asynchronous:
            connection.leave()
            connection.hold_for(call)
            self._call_async(connection, call)
            return None
        if not self._crew.begin():
            try:
                self._wait(connection, self.waiting)
            except NoRoomError as error:
                raise RefusedError(message_of(error), method.refused(wire, sequence)) from None
            return None
        if method.slow:
            self._give_up_events()
            self._crew.wake_if_needed()
        try:
            return method.run(wire, sequence, arguments)
        finally:
            self._crew.end()

    def call_large(self, connection: Connection) -> bytes | None:
        """Decode a large request and make its call, while another thread serves other clients.

        Raises:
            RefusedError: there is no memory for the call.
            NoRoomError: there is none to have it wait.
        """
        if self._crew.begin(large=True):
            return self._call_apart(connection, large=True)
        self._wait(connection, self.waiting_large)
        return None

    def _call_apart(self, connection: Connection, large: bool) -> bytes | None:
        """Make a call, with room for it, that was not decoded yet."""
        self._give_up_events()
        self._crew.wake_if_needed()
        try:
            answer = connection.call_again()
        finally:
            self._crew.end(large)
        return answer if isinstance(answer, bytes) else self.call(connection, answer)

    def _wait(self, connection: Connection, waiting: deque[Connection]) -> None:
        """Have a connection wait until there is room for its call."""
        connection.leave()
        connection.wait_for_room()
        waiting.append(connection)
        self._give_back_waiting()

    def _make_waiting_calls(self) -> None:
        """Make calls that wait, while there is room; in a thread that has made some."""
        for waiting, large in ((self.waiting_large, True), (self.waiting, False)):
            while waiting and not self.leaving and self._crew.begin(large):
                try:
                    connection = waiting.popleft()
                except IndexError:
                    self._crew.end(large)
                    continue
                try:
                    answer = self._call_apart(connection, large)
                except RefusedError as refused:
                    answer = connection.refuse(refused)
                if answer is not None:
                    connection.answered(answer)

    def _call_async(self, connection: Connection, call: Call) -> None:
        """Have a coroutine begin on the asyncio loop."""
        method, wire, sequence, arguments, _ = call

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

    def _look_at_time(self, now: float) -> float:
        """Close what is due, and return when the next will be."""
        due = inf
        self._acceptor.try_again()
        for connection in list(self.connections.values()):
            at = connection.due()
            if at <= now and connection.claim.acquire(False):
                if connection.due() <= now:
                    connection.time_out()
                    continue
                connection.claim.release()
                if connection.again:
                    self.requeue(connection)
            due = min(due, at if at > now else now)
        return due
