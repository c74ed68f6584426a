"""What serves the calls of a task: its methods, limits, threads and counters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.calls import Wrapper, awaiting, blocking
from sparts.net.metering import RequestFields, Requests
from sparts.tasks.grpc.threads import Threads

import grpc

if TYPE_CHECKING:
    from sparts.tasks.grpc.methods import Registry
    from sparts.tasks.grpc.protocols import CallConnection, OpenCall, ServedTask


class Limits(NamedTuple):
    """What a client may do."""

    message: int
    """Bytes that a request may have."""
    headers: int
    """Bytes that the headers of a call may have, as HTTP/2 counts them."""
    streams: int
    """Calls that may be open on a connection."""
    held: int
    """Bytes of requests on a connection that are not whole, or not read."""
    memory: int
    """Bytes of requests of all connections that are not whole, not read or not answered."""
    first_call: float
    """Seconds until its first call."""
    compression: grpc.Compression
    """How responses are compressed, where the client can read it."""


class Server:
    """What the connections of a task share; made and used in the loop's thread.

    Args:
        task: whose it is.
        registry: the methods.
        limits: what clients may do.
    """

    def __init__(self, task: ServedTask, registry: Registry, limits: Limits) -> None:
        self.task: ServedTask = task
        self.registry: Registry = registry
        self.limits: Limits = limits
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.requests: Requests = Requests(limits.memory, task.logger)
        self.n_broken: int = 0
        """How many clients were disconnected because they broke the protocol, or a limit of it."""
        self.awaiting: Wrapper | None = awaiting(task)
        self.blocking: Wrapper | None = blocking(task)
        """What wraps calls that run in the loop, and in threads; None: nothing does."""
        self.threads: Threads = Threads(task.num_threads or 1, task.logger.name, self._thread_broke)
        self.call_begun: Callable[[], None] = task.meter.begin
        """Counts a call that begins."""
        self._names = {path.encode(): path[1:] for path in registry.names()}
        self._calls: dict[tuple[bytes, int], Any] = {}
        self._durations: dict[bytes, Any] = {}

    def broken(self, connection: CallConnection, what: str) -> None:
        """Note that a client breaks the protocol, or a limit."""
        self.n_broken += 1
        self.task.logger.info("%s was disconnected: %s", connection.peer.name, what)

    def call_ended(self, call: OpenCall, code: grpc.StatusCode) -> None:
        """Count, time and log a call that has ended."""
        number, meter = code.value[0], self.task.meter
        seconds = meter.end(number, call.began) - call.began
        path = call.path if call.path in self._names else b""
        count = self._calls.get((path, number))
        if count is None:
            name = self._names.get(path, "other")
            count = self.task.calls.labels(name, code.name).increment
            self._calls[path, number] = count
            self._durations[path] = self.task.call_duration_ms.labels(name).add
        count()
        self._durations[path](seconds * 1000.0)
        if meter.logs(number):
            fields = call.fields or RequestFields(call.headers)
            name = call.path.decode("latin-1")
            meter.log(number, code.name, "grpc", name, call.connection.peer.host, seconds, fields)

    def _thread_broke(self, error: BaseException) -> None:
        self.task.loop_task.exit_asked(error)
