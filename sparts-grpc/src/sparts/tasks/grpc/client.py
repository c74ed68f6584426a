"""GrpcClientTask: channels to gRPC servers, shared by the tasks of a service."""

from __future__ import annotations

import asyncio
import json
import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import SampleType, counter, labelled, own, samples
from sparts.counters.metric import Labelled
from sparts.errors import OptionError
from sparts.established import TaskReference
from sparts.loops import LoopBoundTask
from sparts.option_types import duration
from sparts.options import Option, flag_of, option
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.grpc import client_calls

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class GrpcClientTask(LoopBoundTask):
    """Keeps channels for the other tasks: put it into their ``DEPS``.

    Calls have a deadline, methods in ``IDEMPOTENT`` are called again while a server is unavailable,
    and all are counted. The channels are closed when the task stops.
    """

    LOOP: ClassVar[TaskReference] = AsyncioLoopTask
    OPT_PREFIX: ClassVar[str | None] = "grpc-client"
    DEFAULT_TARGET: ClassVar[str] = "localhost:50051"
    """The default of ``--grpc-client-target``."""
    TIMEOUT: ClassVar[float] = 30.0
    """Seconds; the default of ``--grpc-client-timeout``."""
    ATTEMPTS: ClassVar[int] = 4
    """The default of ``--grpc-client-attempts``."""
    IDEMPOTENT: ClassVar[Sequence[str]] = ()
    """What may be called again: ``package.Service/Method``, or ``package.Service`` for all of its
    methods."""
    CHANNEL_OPTIONS: ClassVar[Sequence[tuple[str, Any]]] = ()
    """Further options of grpcio's channels."""

    target: Option[str] = option(
        type=str,
        default=lambda cls: cls.DEFAULT_TARGET,
        metavar="TARGET",
        help="the server to call where the caller names none: HOST:PORT or unix:PATH",
        reloadable=False,
    )
    timeout: Option[float] = option(
        type=duration,
        default=lambda cls: cls.TIMEOUT,
        metavar="DURATION",
        help="deadline of a call that has none; 0: no limit",
        reloadable=False,
    )
    attempts: Option[int] = option(
        type=int,
        default=lambda cls: cls.ATTEMPTS,
        metavar="N",
        help="how often (1 to 5) an idempotent method is called while the server is unavailable",
        reloadable=False,
        advanced=True,
    )
    tls_ca: Option[str] = option(
        type=str,
        metavar="FILE",
        help="speak TLS with servers whose certificates these authorities signed (PEM)",
        reloadable=False,
    )
    tls_cert: Option[str] = option(
        type=str,
        metavar="FILE",
        help="show servers this certificate (PEM, its chain after it)",
        reloadable=False,
        advanced=True,
    )
    tls_key: Option[str] = option(
        type=str,
        metavar="FILE",
        help="private key of the certificate, if it is in another file",
        reloadable=False,
        advanced=True,
    )

    calls: Labelled[counter] = labelled(counter(help="Calls that have ended."), "method", "code")
    call_duration_ms: Labelled[samples] = labelled(
        samples(
            types=[SampleType.COUNT, SampleType.AVG, SampleType.P50, SampleType.P99,
                   SampleType.MAX],
            windows=[60, 3600],
            help="Time of a call, all its attempts together.",
            unit="ms",
        ),
        "method",
    )  # fmt: skip

    def initTask(self) -> None:  # noqa: N802
        """Read the files of TLS.

        Raises:
            OptionError: the options cannot be, or a file cannot be read.
        """
        super().initTask()
        self._lock = threading.Lock()  # guards what follows
        self._closed = False
        self._channels: dict[str, SharedChannel] = {}
        self._aio_channels: dict[str, grpc.aio.Channel] = {}
        self._credentials = self._read_credentials()

    def check(self) -> None:
        """See whether the options go together, and the files of TLS can be read."""
        super().check()
        self._read_credentials()

    def _read_credentials(self) -> Any:
        flag = flag_of(type(self))
        if not 1 <= (self.attempts or 0) <= 5:
            raise OptionError(f"{flag}-attempts must be 1 to 5, not {self.attempts}.")
        if (self.tls_cert or self.tls_key) and not self.tls_ca:
            raise OptionError(f"{flag}-tls-cert needs {flag}-tls-ca, the authorities of servers.")
        if self.tls_key and not self.tls_cert:
            raise OptionError(f"{flag}-tls-key needs {flag}-tls-cert, the certificate.")
        if not self.tls_ca:
            return None
        ca = self._read("ca", self.tls_ca)
        own = self._read("cert", self.tls_cert) if self.tls_cert else None
        key = self._read("key", self.tls_key) if self.tls_key else own
        return grpc.ssl_channel_credentials(ca, key, own)

    def _read(self, name: str, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            flag = flag_of(type(self), f"tls-{name}")
            reason = error.strerror or error
            raise OptionError(f"{flag}: cannot read {path}: {reason}.") from error

    # -- to use ------------------------------------------------------------------------------------

    def channel(self, target: str = "") -> grpc.Channel:
        """Return the channel to a server, for calls from threads; from any thread.

        The task closes it at its stop; `close` and ``with`` do not, since other tasks use it too.

        Args:
            target: as grpcio takes it; empty: that of ``--grpc-client-target``.

        Raises:
            RuntimeError: the task has stopped.
        """
        return self._get(self._channels, target, self._make)

    def aio_channel(self, target: str = "") -> grpc.aio.Channel:
        """Return the channel to a server, for coroutines on the loop of `LOOP`; call it there.

        Do not close it: other tasks use it too.

        Args:
            target: as grpcio takes it; empty: that of ``--grpc-client-target``.

        Raises:
            RuntimeError: the task has stopped, or this is not that loop.
        """
        loop_task: Any = self.loop_task
        try:
            here = asyncio.get_running_loop() is loop_task.loop
        except RuntimeError:  # no loop runs in this thread
            here = False
        if not here:
            raise RuntimeError(
                f"{self.name}.aio_channel() is for the loop of {loop_task.name}: call it in a "
                f"coroutine there. Threads use channel()."
            )
        return self._get(self._aio_channels, target, self._make_aio)

    def _get(self, channels: dict[str, Any], target: str, make: Callable[[str], Any]) -> Any:
        target = target or self.target or self.DEFAULT_TARGET
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{self.name} has stopped: it has no channels any more.")
            if target not in channels:
                channels[target] = make(target)
            return channels[target]

    def _make(self, target: str) -> SharedChannel:
        options = self._options()
        if self._credentials is None:
            channel = grpc.insecure_channel(target, options)
        else:
            channel = grpc.secure_channel(target, self._credentials, options)
        return SharedChannel(grpc.intercept_channel(channel, _Counting(self)), self.name)

    def _make_aio(self, target: str) -> grpc.aio.Channel:
        options, interceptors = self._options(), [kind(self) for kind in _AIO]
        if self._credentials is None:
            return grpc.aio.insecure_channel(target, options, interceptors=interceptors)
        return grpc.aio.secure_channel(
            target, self._credentials, options, interceptors=interceptors
        )

    def _options(self) -> list[tuple[str, Any]]:
        """Return the options of a channel: retries of what is idempotent, by grpcio itself."""
        methods: list[dict[str, Any]] = []
        if self.IDEMPOTENT and (self.attempts or 1) > 1:
            names = []
            for each in self.IDEMPOTENT:
                service, _, method = each.strip("/").partition("/")
                names.append({"service": service, "method": method} if method else
                             {"service": service})  # fmt: skip
            policy = {
                "maxAttempts": self.attempts,
                "initialBackoff": "0.1s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            }
            methods.append({"name": names, "retryPolicy": policy})
        config = json.dumps({"methodConfig": methods})
        return [("grpc.service_config", config), *self.CHANNEL_OPTIONS]

    # -- its life ----------------------------------------------------------------------------------

    async def stop_in_loop(self) -> None:
        """Close the channels; calls that are under way end with CANCELLED."""
        with self._lock:
            self._closed = True
            channels = list(self._channels.values())
            aio_channels = list(self._aio_channels.values())
            self._channels.clear()
            self._aio_channels.clear()
        for channel in channels:
            channel.end()
        for channel in aio_channels:
            await channel.close()

    # -- for interceptors --------------------------------------------------------------------------

    def with_deadline(self, details: Any) -> Any:
        """Return how to make a call: with a deadline if it has none."""
        if details.timeout is not None or not self.timeout:
            return details
        return client_calls.changed(details, timeout=self.timeout)

    def ended(self, method: Any, code: Any, began: float) -> None:
        """Count a call that has ended."""
        name = (method.decode() if isinstance(method, bytes) else method).strip("/")
        own(self, GrpcClientTask.calls).labels(name, getattr(code, "name", "UNKNOWN")).increment()
        took = own(self, GrpcClientTask.call_duration_ms).labels(name)
        took.add((perf_counter() - began) * 1000.0)


class SharedChannel(grpc.Channel):  # type: ignore[misc]
    """A channel that only its task closes; grpcio crashes where a closed one is asked for a method.

    Args:
        channel: grpcio's.
        name: of the task.
    """

    def __init__(self, channel: grpc.Channel, name: str) -> None:
        self._channel: grpc.Channel | None = channel
        self._name = name

    def _open(self) -> grpc.Channel:
        if self._channel is None:
            raise RuntimeError(f"{self._name} has stopped, and closed its channels.")
        return self._channel

    def subscribe(self, callback: Any, try_to_connect: bool | None = False) -> None:
        """Have a function called at each change of the connection."""
        self._open().subscribe(callback, try_to_connect=try_to_connect)

    def unsubscribe(self, callback: Any) -> None:
        """Call the function no more."""
        self._open().unsubscribe(callback)

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method."""
        return self._open().unary_unary(*args, **kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method."""
        return self._open().unary_stream(*args, **kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method."""
        return self._open().stream_unary(*args, **kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method."""
        return self._open().stream_stream(*args, **kwargs)

    def close(self) -> None:
        """Do nothing: others use it too."""

    def end(self) -> None:
        """Close it."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def __enter__(self) -> SharedChannel:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""


class _Counting(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[misc]
    grpc.UnaryStreamClientInterceptor,  # type: ignore[misc]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[misc]
    grpc.StreamStreamClientInterceptor,  # type: ignore[misc]
):
    """Gives calls from threads their deadline, and counts them."""

    def __init__(self, task: GrpcClientTask) -> None:
        self._task = task

    def _call(self, proceed: Any, details: Any, request: Any) -> Any:
        began = perf_counter()
        details, end = client_calls.begun(self._task, self._task.with_deadline(details))
        call = proceed(details, request)

        def done(done: Any) -> None:
            self._task.ended(details.method, done.code(), began)
            client_calls.ended(end, done.code())

        call.add_done_callback(done)
        return call

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call
    intercept_stream_stream = _call


class _AioCounting:
    """Gives calls of coroutines their deadline, and counts them."""

    def __init__(self, task: GrpcClientTask) -> None:
        self._task = task

    async def _call(self, proceed: Any, details: Any, request: Any) -> Any:
        began = perf_counter()
        details, end = client_calls.begun(self._task, self._task.with_deadline(details))
        try:
            call = await proceed(details, request)
        except BaseException:
            client_calls.ended(end, None)
            raise

        def done(ended: Any) -> None:
            # The status is there at once: a call of which this is called has ended.
            try:
                ended.code().send(None)
                code = None
            except StopIteration as outcome:
                code = outcome.value
            except BaseException:
                code = None
            self._task.ended(details.method, code, began)
            client_calls.ended(end, code)

        call.add_done_callback(done)
        return call

    intercept_unary_unary = _call
    intercept_unary_stream = _call
    intercept_stream_unary = _call
    intercept_stream_stream = _call


_AIO = [
    type(f"_{kind}", (_AioCounting, getattr(grpc.aio, f"{kind}ClientInterceptor")), {})
    for kind in ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")
]
