"""GrpcTask: a gRPC server as a task."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from grpc_health.v1 import health_pb2_grpc
from sparts.clock import timeout_of
from sparts.counters import CallbackCounter, SampleType, counter, labelled, samples
from sparts.counters.metric import Labelled
from sparts.errors import UsageError
from sparts.net.listeners import refuse_below_one
from sparts.net.metering import Metered
from sparts.net.names import claim, is_taken
from sparts.option_types import duration, size
from sparts.options import Option, option
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.tasks.grpc.connection import Connection
from sparts.tasks.grpc.health import Health
from sparts.tasks.grpc.methods import Registry
from sparts.tasks.grpc.reflection import add_reflection
from sparts.tasks.grpc.server import Limits, Server

import grpc

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

_COMPRESSIONS = {
    "none": grpc.Compression.NoCompression,
    "gzip": grpc.Compression.Gzip,
    "deflate": grpc.Compression.Deflate,
}
_FAULTS = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS)


def _add_function(servicer: type) -> Callable[[Any, Any], None] | None:
    """Return the generated ``add_X_to_server`` of a class that derives from a servicer ``X``."""
    base = _servicer_in(servicer)
    return base and getattr(sys.modules[base.__module__], f"add_{base.__name__}_to_server")


def _servicer_in(cls: type) -> type | None:
    """Return the class ``X`` that grpcio-tools made, of which a class derives."""
    for base in cls.__mro__:
        module = sys.modules.get(str(base.__module__))
        if hasattr(module, f"add_{base.__name__}_to_server"):
            return base
    return None


def _level(code: grpc.StatusCode) -> int:
    """Return the level of the log line of a call that ends so."""
    if code in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ALREADY_EXISTS):
        return logging.INFO
    return logging.ERROR if code in _FAULTS else logging.WARNING


class GrpcTask(Metered, AsyncioServerTask):
    """Serves gRPC: servicers made by grpcio-tools, the health service, and reflection by option.

    Name the servicers in ``SERVICERS``, derive the task from one, or override `add_to_server`.
    Methods that are ``async def`` run in the loop, others in threads.
    """

    OPT_PREFIX: ClassVar[str | None] = "grpc"
    CALL_KIND: ClassVar[str] = "grpc"
    DEFAULT_PORT: ClassVar[int] = 50051
    ALPN: ClassVar[Sequence[str]] = ("h2",)

    _for_rpc = False
    _names_taken: ClassVar[str] = ""  # what is wrong with names of methods
    SERVICERS: ClassVar[Sequence[Any]] = ()
    """Servicers: classes, which are called without arguments, or objects."""
    INTERCEPTORS: ClassVar[Sequence[Any]] = ()
    """Interceptors of `grpc.aio` or of grpc. A call passes those of `grpc.aio` first."""
    THREADS: ClassVar[int] = 10
    """The default of ``--grpc-threads``."""
    MAX_MESSAGE: ClassVar[int] = 4 * 1024 * 1024
    """Bytes that a request may have; the default of ``--grpc-max-message``."""
    MAX_MEMORY: ClassVar[int] = 256 * 1024 * 1024
    """Bytes; the default of ``--grpc-max-memory``."""
    MAX_HEADERS: ClassVar[int] = 64 * 1024
    """Bytes; the default of ``--grpc-max-headers``."""
    MAX_CALLS: ClassVar[int] = 100
    """The default of ``--grpc-max-calls``."""
    FIRST_CALL_TIMEOUT: ClassVar[float] = 60.0
    """Seconds that a connection may be open without any call; then it is closed."""
    OUTCOMES: ClassVar[Mapping[str, int]] = {
        code.name: _level(code) for code in sorted(grpc.StatusCode, key=lambda code: code.value[0])
    }
    """The statuses in the order of their numbers."""

    num_threads: Option[int] = option(
        name="threads",
        type=int,
        default=lambda cls: cls.THREADS,
        metavar="N",
        help="how many threads run the methods that are plain functions",
        reloadable=False,
    )
    reflection: Option[bool] = option(
        default=False,
        help="serve the reflection service, which describes all services and their messages",
        reloadable=False,
    )
    max_message: Option[int] = option(
        type=size,
        default=lambda cls: cls.MAX_MESSAGE,
        metavar="SIZE",
        help="longest request; a longer one is refused",
        reloadable=False,
        advanced=True,
    )
    max_memory: Option[int] = option(
        type=size,
        default=lambda cls: cls.MAX_MEMORY,
        metavar="SIZE",
        help="memory limit for the requests of all clients that arrive or wait for their answer;"
        " further ones end with RESOURCE_EXHAUSTED (0: no limit)",
        reloadable=False,
        advanced=True,
    )
    max_headers: Option[int] = option(
        type=size,
        default=lambda cls: cls.MAX_HEADERS,
        metavar="SIZE",
        help="longest headers of a call; a client that sends longer ones is disconnected",
        reloadable=False,
        advanced=True,
    )
    max_calls: Option[int] = option(
        type=int,
        default=lambda cls: cls.MAX_CALLS,
        metavar="N",
        help="how many calls may be open on one connection; the client must wait with further ones",
        reloadable=False,
        advanced=True,
    )
    first_call_timeout: Option[float] = option(
        type=duration,
        default=lambda cls: cls.FIRST_CALL_TIMEOUT,
        metavar="DURATION",
        help="close a connection that has made no call for this long",
        reloadable=False,
        advanced=True,
    )
    compression: Option[str] = option(
        type=str,
        choices=list(_COMPRESSIONS),
        default="none",
        help="compress responses if the client supports it and the method does not choose",
        reloadable=False,
        advanced=True,
    )

    calls: Labelled[counter] = labelled(counter(help="Calls that have ended."), "method", "code")
    call_duration_ms: Labelled[samples] = labelled(
        samples(
            types=[SampleType.COUNT, SampleType.AVG, SampleType.P50, SampleType.P90,
                   SampleType.P99, SampleType.MAX],
            windows=[60, 3600],
            help="Time from the headers of a call to its status.",
            unit="ms",
        ),
        "method",
    )  # fmt: skip
    broken: CallbackCounter = CallbackCounter(
        lambda task: task.calls_server.n_broken if "calls_server" in vars(task) else 0,
        help="Clients disconnected because they broke the protocol or a limit of it.",
    )

    requests_refused: CallbackCounter = CallbackCounter(
        lambda task: task.calls_server.requests.n_refused if "calls_server" in vars(task) else 0,
        help="Requests refused because those of all clients took too much memory.",
    )

    registry: Registry
    """The methods, from `initTask` on."""
    health: Health
    """The health service, from `initTask` on."""
    calls_server: Server
    """What serves them, from the start on."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        if (servicer := _servicer_in(cls)) is not None:
            names = [name for name in vars(servicer) if name[:2] != "__"]
            claim(cls, names, str)
            if taken := [name for name in names if is_taken(cls, name)]:
                cls._names_taken = (
                    f"{cls.__name__} cannot have the methods {', '.join(taken)} of "
                    f"{servicer.__name__}: the names mean something else to every task. Write a "
                    f"class of its own for {servicer.__name__}, and name it in SERVICERS."
                )
        super().__init_subclass__(**arguments)

    def add_to_server(self, server: Any) -> None:
        """Add what is served: ``add_X_to_server(servicer, server)``. Called once, in `initTask`.

        The default adds ``SERVICERS``, and the task itself if it derives from a servicer. An
        exception fails the start.

        Args:
            server: a `Registry`; code generated by grpcio-tools takes it for a `grpc.Server`.
        """
        for each in self.SERVICERS:
            servicer = each() if isinstance(each, type) else each
            add = _add_function(type(servicer))
            if add is None:
                raise TypeError(
                    f"{type(servicer).__name__} in SERVICERS of {self.name} derives from no class "
                    f"for which grpcio-tools made a function add_..._to_server."
                )
            add(servicer, server)
        if (add := _add_function(type(self))) is not None:
            add(self, server)

    def interceptors(self) -> Sequence[Any]:
        """Return the interceptors, those that see a call first in front; called in `initTask`."""
        return self.INTERCEPTORS

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse to have no thread, or no call on a connection; see `VTask.check_options`."""
        super().check_options(options)
        refuse_below_one(self, options, GrpcTask.num_threads, GrpcTask.max_calls)

    def initTask(self) -> None:  # noqa: N802
        """Collect what is served.

        Raises:
            TypeError: a servicer or interceptor is none.
            UsageError: a method of the servicer that the task derives from has a name of sparts.
        """
        super().initTask()
        if self._names_taken:
            raise UsageError(self._names_taken)
        self.registry = registry = Registry(self.interceptors())
        self.add_to_server(registry)
        self.health = Health(self, registry.services)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, registry)
        if self.reflection:
            add_reflection(registry)
        self._instance.hooks.register(self.health)

    def _limits(self) -> Limits:
        message = self.max_message or 0
        return Limits(
            message=message,
            headers=self.max_headers or 0,
            streams=self.max_calls or 1,
            held=4 * message + (16 << 20),
            memory=self.max_memory and max(self.max_memory, message),
            first_call=self.first_call_timeout or 0.0,
            compression=_COMPRESSIONS[self.compression or "none"],
        )

    def start_in_loop(self) -> Any:
        """Begin to accept connections."""
        if "calls_server" in vars(self):  # the loop was restarted
            self.calls_server.threads.end()
        self.calls_server = Server(self, self.registry, self._limits())
        super().start_in_loop()

    def make_protocol(self) -> Connection:
        """Return what serves one connection."""
        return Connection(self.calls_server)

    async def stop_in_loop(self) -> None:
        """Accept no more connections, and let the calls finish that have begun.

        Clients must call elsewhere now, and who waits to be accepted is served too. What has not
        finished after `seconds_to_stop` ends with UNAVAILABLE.
        """
        self.health.end()
        await super().stop_in_loop()

    def stop(self) -> None:
        """Have the server end; `join` waits for it."""
        if "health" in vars(self):
            self._instance.hooks.unregister(self.health)
        super().stop()

    def join(self) -> None:
        """Wait for the end of the server and of its threads."""
        super().join()
        if "calls_server" in vars(self):
            threads = self.calls_server.threads
            threads.end()
            if left := threads.join(timeout_of(self.seconds_to_stop())):
                self.logger.warning("Methods still run in %s", ", ".join(left))
