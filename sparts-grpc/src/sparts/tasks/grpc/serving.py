"""Runs the handler of a call: in the loop or in a thread, whichever of the four kinds it is."""

from __future__ import annotations

import asyncio
import contextlib
import math
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.calls import Call as Described
from sparts.calls import CallRefusedError, Reason, joined
from sparts.errors import message_of
from sparts.masking import one_line
from sparts.tasks.grpc.context import AbortedError, AsyncContext, ThreadContext
from sparts.tasks.grpc.wire import MessageError, metadata_of

import grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping

    from sparts.tasks.grpc.context import Context
    from sparts.tasks.grpc.methods import Method
    from sparts.tasks.grpc.protocols import OpenCall

OK = grpc.StatusCode.OK
_ENDS = (SystemExit, KeyboardInterrupt)  # the service
REFUSALS = {
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.TOO_MANY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
"""The statuses of calls that a plugin refuses."""
REFUSED, RETRY_AFTER = "sparts-refused", "retry-after"
"""Trailing metadata: why a plugin refuses a call, which is for clients of RPC, and for how many
seconds."""


class GrpcCall(Described):
    """A call, as wrappers see it."""

    _auth: Any
    _call: OpenCall
    _context: Context

    @property
    def attributes(self) -> Mapping[str, Any]:  # type: ignore[override]
        """What TLS has found out of the client, and the name of the status as it is now."""
        status = self._call.code or self._context.status or OK
        return {"auth": self._auth, "status": status.name}


def description(call: OpenCall, context: Context, is_async: bool = False) -> Described:
    """Return what wrappers of calls learn of one."""
    host = call.connection.peer.host
    metadata = metadata_of(call.headers)
    left = call.time_remaining()
    return GrpcCall(
        call.server.task,
        "grpc",
        call.path.decode("latin-1")[1:],
        is_async=is_async,
        peer=host,
        headers=joined((key, value) for key, value in metadata if isinstance(value, str)),
        deadline=None if left is None else monotonic() + left,
        _auth=call.connection.peer.auth,
        _call=call,
        _context=context,
    )


def refusal(error: CallRefusedError) -> tuple[grpc.StatusCode, str, list[tuple[str, str]]]:
    """Return the code, the message and the trailing metadata of a call that is refused."""
    trailing = [(REFUSED, str(error.reason))]
    if error.retry_after is not None:
        trailing.append((RETRY_AFTER, str(math.ceil(error.retry_after))))
    return REFUSALS[error.reason], message_of(error), trailing


@contextlib.contextmanager
def answered(call: OpenCall) -> Iterator[None]:
    """Answer a call whose method cannot be found, or whose interceptor fails; in the loop."""
    try:
        yield
    except BaseException as error:
        failed(call, None, error)
        if isinstance(error, _ENDS):
            raise


def failed(call: OpenCall, context: Context | None, error: BaseException) -> None:
    """End a call whose handler has raised; in the loop's thread."""
    if call.over:
        return
    if isinstance(error, MessageError):
        call.finish(error.code, error.details)
    elif isinstance(error, CallRefusedError):
        status, message, metadata = refusal(error)
        if not call.server.task._for_rpc:
            metadata = [each for each in metadata if each[0] != REFUSED]
        call.finish(status, message, metadata)
    elif isinstance(error, AbortedError) and context is not None:
        call.finish(context.status or grpc.StatusCode.UNKNOWN, context.message, context.trailing)
    elif isinstance(error, asyncio.CancelledError) and not call.server.task.running:
        call.finish(grpc.StatusCode.UNAVAILABLE, "The server stops.")
    else:
        path = one_line(call.path.decode("latin-1"))
        call.server.task.logger.error("%s failed", path, exc_info=error)
        code = context.status if context is not None else None
        if code is None or code is OK:
            code = grpc.StatusCode.UNKNOWN
        trailing = context.trailing if context is not None else ()
        details = context.message if context is not None else ""
        call.finish(code, details or "The method raised an exception.", trailing)


def _finish(call: OpenCall, context: Context) -> None:
    call.finish(context.status or OK, context.message, context.trailing)


# -- in the loop -----------------------------------------------------------------------------------


async def serve_in_loop(call: OpenCall, method: Method, message: bytes | None) -> None:
    """Run a handler that is ``async def``, and end its call."""
    context = AsyncContext(call)
    wrapper = call.server.awaiting
    try:
        request: Any = _requests(call)
        if message is not None:
            request = await call.decoded_in_loop(message)
        handle = _stream if method.streams_out else _run
        if wrapper is None:
            response = await handle(call, method, request, context)
        else:
            described = description(call, context, is_async=True)
            response = await wrapper(described, partial(handle, call, method, request, context))
        if method.streams_out:
            _finish_stream(call, context)
            return
        if context.status is None or context.status is OK:
            await call.write(call.encoded(response, context), context)
        _finish(call, context)
    except BaseException as error:
        failed(call, context, error)
        if isinstance(error, _ENDS):
            raise


def _run(call: OpenCall, method: Method, request: Any, context: AsyncContext) -> Awaitable[Any]:
    return method.function(request, context)  # type: ignore[no-any-return]


async def _stream(call: OpenCall, method: Method, request: Any, context: AsyncContext) -> None:
    context.begun = True
    responses = method.function(request, context)
    if not hasattr(responses, "__aiter__"):  # it writes by its context
        await responses
        return
    try:
        async for response in responses:
            await call.write(call.encoded(response, context), context)
    finally:
        if hasattr(responses, "aclose"):
            await responses.aclose()


async def _requests(call: OpenCall) -> AsyncIterator[Any]:
    while (message := await call.read()) is not None:
        yield await call.decoded_in_loop(message)


# -- in a thread -----------------------------------------------------------------------------------


class Requests:
    """The requests of a call, for a handler in a thread: an iterator."""

    def __init__(self, call: OpenCall, context: ThreadContext) -> None:
        self._call, self._context = call, context

    def __iter__(self) -> Requests:
        """Return itself."""
        return self

    def __next__(self) -> Any:
        """Wait for the next request.

        Raises:
            StopIteration: the client has sent all.
            grpc.RpcError: the call has ended.
        """
        message = self._context.wait(self._call.read())
        if message is None:
            raise StopIteration
        return self._call.decoded(message)

    next = __next__


def serve_in_thread(call: OpenCall, method: Method, message: bytes | None) -> None:
    """Run a handler that is a plain function, in the present thread, and end its call."""
    if call.over:
        return
    context = ThreadContext(call)
    try:
        request = Requests(call, context) if message is None else call.decoded(message)
        handle = partial(
            _stream_from_thread if method.streams_out else _run_in_thread,
            call,
            method,
            request,
            context,
        )
        wrapper = call.server.blocking
        result = handle() if wrapper is None else wrapper(description(call, context), handle)
        if method.streams_out:
            call.from_thread(_finish_stream, call, context)
        else:
            data = b""
            if context.status is None or context.status is OK:
                data = call.encoded(result, context)
            call.from_thread(_respond, call, context, data)
    except BaseException as error:
        call.from_thread(failed, call, context, error)
        if isinstance(error, _ENDS):
            raise


def _run_in_thread(call: OpenCall, method: Method, request: Any, context: ThreadContext) -> Any:
    return method.function(request, context)


def _stream_from_thread(
    call: OpenCall, method: Method, request: Any, context: ThreadContext
) -> None:
    context.begun = True
    for response in method.function(request, context):
        context.wait(call.write(call.encoded(response, context), context))


def _finish_stream(call: OpenCall, context: Context) -> None:
    if not context.begun:  # a wrapper has not let it proceed
        failed(call, context, CallRefusedError(Reason.FORBIDDEN))
    if not call.over and not call.sent_headers:
        call.send_headers(context)
    _finish(call, context)


def _respond(call: OpenCall, context: Context, data: bytes) -> None:
    """Send the one response of a call, and end it; in the loop's thread."""
    if call.over:
        return
    if not data:
        _finish(call, context)
        return

    async def respond() -> None:
        try:
            await call.write(data, context)
            _finish(call, context)
        except grpc.RpcError:  # it has ended meanwhile
            pass

    call.task = call.spawn(respond())
