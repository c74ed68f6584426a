"""One call on a connection: its messages both ways, its deadline, and its one end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from contextvars import Context, copy_context
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sparts.logs import log_fields
from sparts.masking import one_line
from sparts.net.metering import SMALL, RequestFields
from sparts.tasks.grpc import serving
from sparts.tasks.grpc.incoming import Accounted, Incoming
from sparts.tasks.grpc.weight import LARGE, TooHeavyError
from sparts.tasks.grpc.wire import (
    ACCEPTED,
    MessageError,
    choose_encoding,
    headers_of,
    metadata_of,
    packed,
    seconds_of,
    trailers_of,
)

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.grpc.context import Context as CallContext
    from sparts.tasks.grpc.methods import Method
    from sparts.tasks.grpc.protocols import CallConnection, CallServer

_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}
_LONGEST = 30 * 86400.0
"""Seconds; a deadline that is farther away is none."""
_AT_ONCE = 16  # messages of a handler that never waits; then others have their turn
_HEADERS = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_Headers = list[tuple[bytes, bytes]]


class Call(Accounted):
    """One call. It is the loop's thread's, where nothing else is said.

    Args:
        connection: where it came in.
        stream: its number there.
        headers: of the request.
    """

    __slots__ = (
        "_callbacks", "_ended", "_expires", "_serving", "_timer", "_uncredited",
        "_unwaited", "_waiter",
        "began", "cancelled", "code", "connection", "fields", "headers", "incoming", "known",
        "method", "over", "path", "sent_headers", "server", "stream", "task",
    )  # fmt: skip

    def __init__(self, connection: CallConnection, stream: int, headers: _Headers) -> None:
        self.connection: CallConnection = connection
        self.server: CallServer = connection.server
        self.stream: int = stream
        self.headers: _Headers = headers
        known = dict(headers)
        self.known: dict[bytes, bytes] = known
        self.path: bytes = known.get(b":path", b"")
        self.method: Method | None = None
        self.task: asyncio.Task[None] | None = None
        self.began: float = perf_counter()
        self.over: bool = False
        self.code: grpc.StatusCode | None = None  # since it is over
        self.cancelled: bool = False
        self.fields: RequestFields | None = None
        encoding = known.get(b"grpc-encoding", b"identity")
        self.incoming: Incoming = Incoming(self.server.limits.message, encoding)
        self._ended = False  # the client has sent all
        self._serving = False  # the handler was called, or is about to be
        self._served = 0  # bytes of the one message that the handler was called with
        self._uncredited = self._unwaited = 0  # bytes taken, messages sent without a wait
        self._waiter: asyncio.Future[None] | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.sent_headers: bool = False
        self._timer: asyncio.TimerHandle | None = None
        self._expires: float | None = None

    # -- its beginning -----------------------------------------------------------------------------

    def open(self, ended: bool) -> None:
        """Take the headers, which have come.

        Args:
            ended: no message follows.
        """
        self._ended = ended
        if (timeout := self.known.get(b"grpc-timeout")) is not None:
            seconds = seconds_of(timeout)
            if seconds < _LONGEST:
                self._expires = self.server.loop.time() + seconds
                self._timer = self.server.loop.call_later(seconds, self.expire)
        self.method = self.server.registry.known(self.path)
        if self.method is not None:
            self._begin_if_complete()
        elif self.server.registry.waits:
            self.task = self.spawn(self._find())
        else:
            metadata = metadata_of(self.headers)
            self._found(self.server.registry.find_now(self._path_text(), metadata))

    async def _find(self) -> None:
        with serving.answered(self):
            metadata = metadata_of(self.headers)
            self._found(await self.server.registry.find(self._path_text(), metadata))

    def _found(self, method: Method | None) -> None:
        if self.over:
            return
        if method is None:
            raise MessageError(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
        self.method = method
        self._begin_if_complete()

    def _path_text(self) -> str:
        return self.path.decode("latin-1")

    def _begin_if_complete(self) -> None:
        """Serve the call, unless its one message has not come yet."""
        method = self.method
        if method is None or self.over:
            return
        if method.streams_in:
            self._serve(method, None)
        elif self._ended:
            if self.incoming.partial or not self.incoming.messages:
                raise MessageError(grpc.StatusCode.INTERNAL, "The request has no whole message.")
            message = self.incoming.take()
            self._served = len(message)
            self._serve(method, message)

    def _serve(self, method: Method, message: bytes | None) -> None:
        self._serving = True
        self.fields = RequestFields(self.headers)
        context = copy_context()
        context.run(log_fields.set, self.fields)
        if method.in_loop:
            self.task = self.spawn(serving.serve_in_loop(self, method, message), context)
        else:
            run = context.run
            self.server.threads.put(lambda: run(serving.serve_in_thread, self, method, message))

    def spawn(self, coroutine: Any, context: Context | None = None) -> asyncio.Task[None]:
        """Run a coroutine of this call in the loop."""
        return asyncio.Task(coroutine, loop=self.server.loop, context=context, **_EAGER)

    # -- what comes in -----------------------------------------------------------------------------

    def received(self, data: bytes, size: int, ended: bool) -> None:
        """Take a part of the messages.

        Args:
            data: of the messages.
            size: what the client's window has to be opened by when they are read.
            ended: it was the last one.

        Raises:
            MessageError: they cannot be used.
        """
        self._ended = self._ended or ended
        self._uncredited += size
        self.incoming.add(data)
        self._hold()
        if self.over:
            return
        method = self.method
        if method is not None and not (method.streams_in or self._serving):
            if len(self.incoming.messages) > 1:
                raise MessageError(grpc.StatusCode.UNIMPLEMENTED, "One message is expected.")
            if ended:
                self._begin_if_complete()
        if not ended:
            self._credit()
        self._wake()

    def ended(self) -> None:
        """Take the end of the messages.

        Raises:
            MessageError: they are not whole.
        """
        if not self._ended:
            self._ended = True
            if self.method is not None and not self.method.streams_in:
                self._begin_if_complete()
            self._wake()

    def _credit(self) -> None:
        """Let the client send more, unless messages wait to be read."""
        if not self.incoming.messages and self._uncredited >= self.connection.credit_from:
            self.connection.credit(self.stream, self._uncredited)
            self._uncredited = 0

    async def read(self) -> bytes | None:
        """Return the next message; None after the last one.

        Raises:
            grpc.RpcError: the call has ended.
        """
        while not self.incoming.messages:
            if self.over:
                raise grpc.RpcError("The call has ended.")
            if self._ended:
                if self.incoming.partial:
                    raise MessageError(grpc.StatusCode.INTERNAL, "The last message is not whole.")
                return None
            self._waiter = self.server.loop.create_future()
            await self._waiter
        message = self.incoming.take()
        if len(message) > SMALL:
            self._hold()
        if not self._ended:
            self._credit()
        return message

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def decoded(self, message: bytes) -> Any:
        """Return a request; in any thread.

        Raises:
            MessageError: it cannot be decoded.
        """
        decode = self.method.decode if self.method is not None else None
        if decode is None:
            return message
        try:
            return decode(message)
        except TooHeavyError as error:
            raise MessageError(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)) from None
        except Exception as error:
            raise MessageError(
                grpc.StatusCode.INTERNAL, "Exception deserializing request!"
            ) from error

    async def decoded_in_loop(self, message: bytes) -> Any:
        """Return a request: a small one is decoded here, a large one in a thread.

        Raises:
            MessageError: it cannot be decoded.
        """
        if len(message) < LARGE:
            return self.decoded(message)
        return await asyncio.to_thread(self.decoded, message)

    # -- what goes out -----------------------------------------------------------------------------

    def encoded(self, response: Any, context: CallContext) -> bytes:
        """Return a response as it is sent; in any thread.

        Raises:
            MessageError: it cannot be encoded.
        """
        encode = self.method.encode if self.method is not None else None
        try:
            message = response if encode is None else encode(response)
            wanted, context.compress_next = context.compress_next, True
            if not wanted:
                return packed(message)
            return packed(message, self._response_encoding(context))
        except Exception as error:
            self.server.task.logger.exception("%s: no response", one_line(self._path_text()))
            raise MessageError(grpc.StatusCode.INTERNAL, "Failed to serialize response!") from error

    def _response_encoding(self, context: CallContext) -> bytes:
        wanted = context.compression
        if wanted is None:
            wanted = self.server.limits.compression
        if wanted is grpc.Compression.NoCompression:
            return b"identity"
        return choose_encoding(wanted, self.known)

    def send_headers(self, context: CallContext | None, metadata: Any = ()) -> None:
        """Send the headers of the response.

        Raises:
            ValueError: they have been sent, or the metadata cannot be.
        """
        if self.sent_headers:
            raise ValueError("The initial metadata has been sent.")
        if self.over:
            return
        headers = _HEADERS
        encoding = b"identity" if context is None else self._response_encoding(context)
        if encoding != b"identity":
            headers = [*headers, (b"grpc-encoding", encoding)]
        if metadata or encoding != b"identity":
            accepted = (b"grpc-accept-encoding", ACCEPTED)
            headers = [*headers, accepted, *headers_of(metadata)]
        self.sent_headers = True
        self.connection.send_headers(self.stream, headers)

    async def write(self, data: bytes, context: CallContext | None = None) -> None:
        """Send a message; returns when the connection has taken all of it.

        Raises:
            grpc.RpcError: the call has ended.
        """
        if not self.sent_headers:
            self.send_headers(context)
        left: bytes | memoryview = data
        while not self.over:
            sent = self.connection.send_data(self.stream, left)
            if sent == len(left):
                self._unwaited += 1
                if self._unwaited % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                return
            left = memoryview(left)[sent:]
            await self.connection.writable()
        raise grpc.RpcError("The call has ended.")

    def finish(self, code: grpc.StatusCode, details: str = "", trailing: Any = ()) -> None:
        """Send the status, and end the call; nothing happens if it has ended."""
        if self.over:
            return
        try:
            trailers = trailers_of(code.value[0], details, trailing)
        except (ValueError, TypeError, AttributeError):
            self.server.task.logger.exception("%s: trailing metadata", one_line(self._path_text()))
            code = grpc.StatusCode.INTERNAL
            trailers = trailers_of(code.value[0], "Failed to send trailing metadata!")
        if not self.sent_headers:
            trailers = _HEADERS + trailers
        self.connection.send_headers(self.stream, trailers, last=True)
        if not self._ended:
            self.connection.reset(self.stream)
        self._end(code)  # first: who has the answer finds the call counted
        self.connection.flush_soon()

    def expire(
        self,
        code: grpc.StatusCode = grpc.StatusCode.DEADLINE_EXCEEDED,
        details: str = "Deadline Exceeded",
    ) -> None:
        """End the call from our side, before its handler does."""
        if not self.over:
            self.cancelled = True
            self.finish(code, details)

    def lost(self) -> None:
        """End the call, of which the client wants to know no more."""
        if not self.over:
            self.cancelled = True
            self._end(grpc.StatusCode.CANCELLED)

    def _end(self, code: grpc.StatusCode) -> None:
        self.over, self.code = True, code
        if self._timer is not None:
            self._timer.cancel()
        self.incoming.clear()
        if self.server.requests.taken:
            self.server.requests.release(self)
        self._wake()
        self.connection.call_ended(self)
        self.server.call_ended(self, code)
        for callback in self._callbacks:
            self._run_callback(callback)
        self._callbacks.clear()
        if self.cancelled and self.task is not None:
            self.task.cancel()

    # -- what its context asks for -----------------------------------------------------------------

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have a function called in the loop when the call has ended; False: it has."""
        if self.over:
            return False
        self._callbacks.append(callback)
        return True

    def _run_callback(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            self.server.task.logger.exception("A callback at the end of a call failed")

    def time_remaining(self) -> float | None:
        """Return the seconds until its deadline; None: it has none."""
        if self._expires is None:
            return None
        return max(0.0, self._expires - self.server.loop.time())

    def from_thread(self, function: Callable[..., Any], *args: Any) -> None:
        """Have a function called in the loop; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and with it every call
            self.server.loop.call_soon_threadsafe(function, *args)
