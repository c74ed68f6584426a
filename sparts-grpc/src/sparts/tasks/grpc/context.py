"""What a handler reads and sets of its call: grpcio's contexts, for the loop and threads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

from sparts.tasks.grpc.wire import CODES, metadata_of

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sparts.tasks.grpc.protocols import OpenCall


class AbortedError(grpc.aio.AbortError):  # type: ignore[misc, unused-ignore]
    """Ends a handler that has called `abort`."""


class Context:
    """What both contexts have; the methods are those of `grpc.ServicerContext`."""

    def __init__(self, call: OpenCall) -> None:
        self.call = call
        self.status: grpc.StatusCode | None = None
        self.message: str = ""
        self.trailing: Any = ()
        self.compression: grpc.Compression | None = None
        self.compress_next: bool = True
        self.begun: bool = False  # whether a handler that streams was called

    @property
    def service(self) -> Any:
        """The sparts service that the handler runs in."""
        return self.call.server.task.service

    def invocation_metadata(self) -> tuple[Any, ...]:
        """Return what the client has sent: pairs of key and value."""
        return metadata_of(self.call.headers)

    def peer(self) -> str:
        """Return the address of the client: ``ipv4:HOST:PORT``, ``ipv6:...`` or ``unix:``."""
        return self.call.connection.peer.name

    def peer_identities(self) -> Iterable[bytes] | None:
        """Return the names in the client's certificate; None without one."""
        key = self.peer_identity_key()
        return None if key is None else self.call.connection.peer.auth[key]

    def peer_identity_key(self) -> str | None:
        """Return which property of `auth_context` identifies the client."""
        return self.call.connection.peer.identity_key

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Return what TLS has found out of the client."""
        return self.call.connection.peer.auth

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        """Set what is sent at the end of the call."""
        self.trailing = trailing_metadata

    def trailing_metadata(self) -> Any:
        """Return what will be sent at the end of the call."""
        return self.trailing

    def set_code(self, code: Any) -> None:
        """Set the status of the call: a `grpc.StatusCode` or its number."""
        self.status = CODES.get(code, grpc.StatusCode.UNKNOWN) if isinstance(code, int) else code

    def set_details(self, details: str) -> None:
        """Set the message of the status."""
        self.message = details

    def details(self) -> str:
        """Return the message of the status."""
        return self.message

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress responses so, if the client can read it."""
        self.compression = compression

    def disable_next_message_compression(self) -> None:
        """Send the next response as it is."""
        self.compress_next = False

    def time_remaining(self) -> float | None:
        """Return the seconds until the client's deadline; None: it has none."""
        return self.call.time_remaining()

    def cancelled(self) -> bool:
        """Return whether the call ended before its handler did."""
        return self.call.cancelled

    def done(self) -> bool:
        """Return whether the call has ended."""
        return self.call.over

    def is_active(self) -> bool:
        """Return whether the call has not ended."""
        return not self.call.over

    def _abort(self, code: Any, details: str, trailing_metadata: Any) -> NoReturn:
        self.set_code(code)
        if self.status is grpc.StatusCode.OK:
            self.status = grpc.StatusCode.UNKNOWN
            details = ""
        self.message = details
        if trailing_metadata:
            self.trailing = trailing_metadata
        raise AbortedError(details)


if TYPE_CHECKING:

    class _AsyncServicerContext(grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]

else:
    _AsyncServicerContext = grpc.aio.ServicerContext


class AsyncContext(Context, _AsyncServicerContext):  # type: ignore[misc, unused-ignore]
    """The context of handlers that are ``async def``; used in the loop's thread."""

    async def read(self) -> Any:
        """Return the next request; `grpc.aio.EOF` after the last one."""
        message = await self.call.read()
        return grpc.aio.EOF if message is None else await self.call.decoded_in_loop(message)

    async def write(self, message: Any) -> None:
        """Send a response; returns when the connection has taken it."""
        await self.call.write(self.call.encoded(message, self))

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Send metadata before the first response."""
        self.call.send_headers(self, initial_metadata)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> NoReturn:
        """End the call with a status; raises `AbortedError`."""
        self._abort(code, details, trailing_metadata)

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a status; raises `AbortedError`."""
        self._abort(status.code, status.details, status.trailing_metadata)

    def code(self) -> grpc.StatusCode:
        """Return the status that was set."""
        return self.status or grpc.StatusCode.OK

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Have a function called with the context, in the loop, when the call has ended."""
        self.call.add_callback(lambda: callback(self))


class ThreadContext(Context, grpc.ServicerContext):  # type: ignore[misc, unused-ignore]
    """The context of handlers that run in a thread; safe for threads."""

    def send_initial_metadata(self, initial_metadata: Any) -> None:
        """Send metadata before the first response."""

        async def send() -> None:
            self.call.send_headers(self, initial_metadata)

        self.wait(send())

    def abort(self, code: Any, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        """End the call with a status; raises `AbortedError`."""
        self._abort(code, details, trailing_metadata)

    def abort_with_status(self, status: Any) -> NoReturn:
        """End the call with a status; raises `AbortedError`."""
        self._abort(status.code, status.details, status.trailing_metadata)

    def code(self) -> grpc.StatusCode | None:
        """Return the status that was set; None: none was."""
        return self.status

    def cancel(self) -> None:
        """End the call with CANCELLED."""
        self.call.from_thread(self.call.expire, grpc.StatusCode.CANCELLED, "Cancelled")

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have a function called in a thread when the call has ended; False: it has."""
        put = self.call.server.threads.put
        return self.call.add_callback(lambda: put(callback))

    def wait(self, coroutine: Any) -> Any:
        """Run a coroutine in the loop, and wait for its end.

        Raises:
            grpc.RpcError: the call has ended.
        """
        if self.call.over:
            coroutine.close()
            raise grpc.RpcError("The call has ended.")
        return asyncio.run_coroutine_threadsafe(coroutine, self.call.server.loop).result()
