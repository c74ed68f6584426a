"""What the parts of the server need of each other: a call, its connection, its server, its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import Callable

    from sparts.loops import LoopTask
    from sparts.net.metering import Meter, RequestFields, Requests
    from sparts.tasks.grpc.methods import Registry
    from sparts.tasks.grpc.peer import Peer
    from sparts.tasks.grpc.threads import Threads
    from sparts.vservice import VService

    import grpc


class ServedTask(Protocol):
    """A `sparts.tasks.grpc.task.GrpcTask`."""

    name: str
    service: VService
    num_threads: Any
    calls: Any
    call_duration_ms: Any
    meter: Meter

    @property
    def loop_task(self) -> LoopTask: ...  # noqa: D102
    @property
    def logger(self) -> logging.Logger: ...  # noqa: D102
    @property
    def running(self) -> bool: ...  # noqa: D102
    @property
    def _call_wrappers(self) -> Any: ...


class CallServer(Protocol):
    """A `sparts.tasks.grpc.server.Server`."""

    task: Any
    registry: Registry
    limits: Any
    loop: asyncio.AbstractEventLoop
    awaiting: Any
    blocking: Any
    threads: Threads
    requests: Requests

    @property
    def call_begun(self) -> Callable[[], object]: ...  # noqa: D102
    def call_ended(self, call: Any, code: grpc.StatusCode, /) -> None: ...  # noqa: D102
    def broken(self, connection: Any, what: str, /) -> None: ...  # noqa: D102


class CallConnection(Protocol):
    """A `sparts.tasks.grpc.connection.Connection`."""

    peer: Peer
    credit_from: int

    @property
    def server(self) -> CallServer: ...  # noqa: D102
    def credit(self, stream: int, size: int, /) -> None: ...  # noqa: D102
    def send_headers(  # noqa: D102
        self, stream: int, headers: list[tuple[bytes, bytes]], /, last: bool = False
    ) -> None: ...
    def send_data(self, stream: int, data: bytes | memoryview, /) -> int: ...  # noqa: D102
    async def writable(self) -> None: ...  # noqa: D102
    def reset(self, stream: int, /) -> None: ...  # noqa: D102
    def flush_soon(self) -> None: ...  # noqa: D102
    def call_ended(self, call: Any, /) -> None: ...  # noqa: D102


class OpenCall(Protocol):
    """A `sparts.tasks.grpc.calls.Call`."""

    path: bytes
    headers: list[tuple[bytes, bytes]]
    fields: RequestFields | None
    began: float
    over: bool
    code: grpc.StatusCode | None
    cancelled: bool
    sent_headers: bool
    task: asyncio.Task[None] | None

    @property
    def connection(self) -> CallConnection: ...  # noqa: D102
    @property
    def server(self) -> CallServer: ...  # noqa: D102
    def spawn(self, coroutine: Any, /) -> asyncio.Task[None]: ...  # noqa: D102
    async def read(self) -> bytes | None: ...  # noqa: D102
    def keep(self, size: int, /) -> None: ...  # noqa: D102
    async def write(self, data: bytes, context: Any = None, /) -> None: ...  # noqa: D102
    def decoded(self, message: bytes, /) -> Any: ...  # noqa: D102
    async def decoded_in_loop(self, message: bytes, /) -> Any: ...  # noqa: D102
    def encoded(self, response: Any, context: Any, /) -> bytes: ...  # noqa: D102
    def send_headers(self, context: Any, metadata: Any = (), /) -> None: ...  # noqa: D102
    def finish(self, code: grpc.StatusCode, details: str = "", trailing: Any = (), /) -> None: ...  # noqa: D102
    def expire(self, code: grpc.StatusCode = ..., details: str = "", /) -> None: ...  # noqa: D102
    def time_remaining(self) -> float | None: ...  # noqa: D102
    def add_callback(self, callback: Callable[[], None], /) -> bool: ...  # noqa: D102
    def from_thread(self, function: Callable[..., Any], /, *args: Any) -> None: ...  # noqa: D102
