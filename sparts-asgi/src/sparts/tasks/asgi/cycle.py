"""One request and its response, as uvicorn's protocol of HTTP knows them."""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sparts.calls import awaits, starting
from sparts.tasks.asgi.calls import ASGICall
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparts.net.metering import RequestFields

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_JOINED = 65536
"""Bytes of a part of a body that cost less to copy than to send apart."""
_WITHOUT_BODY = (204, 304)
"""Statuses of responses that end with their head, also where it announces a length."""
_send: Any = RequestResponseCycle.send
_receive: Any = RequestResponseCycle.receive


class Arrival:
    """What `asyncio.Event` is, made in a fifth of the time: most requests wait for none."""

    _here = False
    _waiters: Sequence[asyncio.Future[None]] = ()

    def set(self) -> None:
        """Have all who wait go on."""
        self._here = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """Have the next one wait."""
        self._here = False

    async def wait(self) -> None:
        """Wait until it is set; returns at once while it is."""
        if self._here:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters = (*self._waiters, waiter)
        try:
            await waiter
        finally:
            self._waiters = [each for each in self._waiters if each is not waiter]


class Output:
    """Where the responses of one connection go: it sends the head with the first part of the body.

    ASGI allows that, and it saves one of two system calls a response. The head of a stream is sent
    at once, and any other when the application waits for its client.

    Args:
        transport: of the connection.
        close: what closes it after a response; None: the transport's own.
        fail: what answers in place of a response whose head could not be sent; None: nothing.
    """

    __slots__ = ("_close", "_fail", "_head", "_write", "begins", "is_closing")

    def __init__(
        self,
        transport: Any,
        close: Callable[[], None] | None = None,
        fail: Callable[[], None] | None = None,
    ) -> None:
        self._write, self._close, self._fail = transport.write, close or transport.close, fail
        self.is_closing: Callable[[], bool] = transport.is_closing
        self.begins: bool = False
        """What is written next is a head."""
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send a head or a part of a body, or keep the head."""
        if self.begins:
            self.begins = False
            if _CHUNKED not in data:
                self._head = data
                return
        elif self._head:
            if len(data) < _JOINED:
                data, self._head = self._head + data, b""
            else:
                self.flush()
        self._write(data)

    def flush(self) -> None:
        """Send the head, if it was kept and the client is there."""
        if self._head:
            if not self.is_closing():  # uvloop raises then
                self._write(self._head)
            self._head = b""

    def close(self) -> None:
        """Send what there is, and close the connection."""
        if self.begins and self._fail is not None and not self.is_closing():
            self.begins = False
            self._fail()
            return
        self.flush()
        self._close()


class PlainOutput(Output):
    """Where a response to HTTP/1.0 goes, which knows no chunks: its end is that of the connection.

    uvicorn sends them all the same.
    """

    begins: bool
    _chunked = False

    def write(self, data: bytes) -> None:
        """Send a head, or a part of a body, as HTTP/1.0."""
        if self.begins:
            self.begins, self._chunked = False, _CHUNKED in data
            data = data.replace(_CHUNKED, b"\r\n")
        elif self._chunked:
            size, _, rest = data.partition(b"\r\n")
            data = rest[: int(size or b"0", 16)]
        self._write(data)


class Answered:
    """Stands for the output of a response that is complete: it may no longer end the connection.

    uvicorn closes it when the application raises after that, as Starlette does behind its own 500,
    or a background task. That would lose the next request of the client.
    """

    begins: bool = False

    def nothing(self, *_: object) -> bool:
        """Do nothing; False: the connection is not closing."""
        return False

    write: Callable[..., bool] = nothing
    flush: Callable[..., bool] = nothing
    close: Callable[..., bool] = nothing
    is_closing: Callable[..., bool] = nothing


ANSWERED = Answered()


class Cycle(RequestResponseCycle, ASGICall):
    """uvicorn's cycle of a request and its response, which notes the status.

    It sets what differs between requests, and has the rest in its class: that takes half the time.
    It is also the call that plugins see, since a further object would cost what a wrapper does.

    Args:
        connection: uvicorn's protocol, which has read the head of the request.
        keep_alive: whether the connection may serve another request.
    """

    access_log: bool = False
    disconnected: bool = False
    more_body: bool = True
    response_started: bool = False
    response_complete: bool = False
    chunked_encoding: bool | None = None
    expected_content_length: int = 0
    status: Any = 0
    ended: bool = False
    began: float
    fields: RequestFields

    def __init__(self, connection: Any, keep_alive: bool) -> None:
        self.scope: Any = connection.scope
        self.transport: Any = connection.output
        self.flow: Any = connection.flow
        self.logger: Any = connection.logger
        self.access_logger: Any = connection.access_logger
        self.default_headers: Any = connection.server_state.default_headers
        self.on_response: Any = connection.on_response_complete
        self.message_event: Any = Arrival()
        self.keep_alive: bool = keep_alive
        self.waiting_for_100_continue: bool = connection.expect_100_continue
        self.body: bytearray = bytearray()

    def send(self, message: Any) -> Any:
        """Return the coroutine that sends a message; called by the application."""
        if message["type"] == "http.response.start":
            status = message["status"]
            if not 200 <= status < 600:
                raise RuntimeError(f"No response can have the status {status}.")
            self.status = status
            self.transport.begins = not self.response_started
            return _send(self, message)
        if self.status in _WITHOUT_BODY:
            self.expected_content_length, self.chunked_encoding = 0, False
            message = {**message, "body": b""}
        if self.transport.is_closing():
            # It is not known to be lost before the loop's next turn, and an application need not
            # wait for that between its messages. asyncio would log each of them.
            self.disconnected = True
        return _send(self, message)

    def receive(self) -> Any:
        """Return the coroutine that gives a message of the client; called by the application."""
        self.transport.flush()
        return _receive(self)

    def run_whole(self, whole: Any) -> None:
        """Have the application answer a request that has come as a whole; see `Shared.whole`.

        It is called once all requests are read that have come: the answers leave one after the
        other, so that a client is not woken up for each of them.
        """
        if self.ended:
            return
        try:
            answer = copy_context().run(whole, self.scope, bytes(self.body))
        except BaseException as error:
            self.logger.error("Exception in ASGI application", exc_info=error)
            answer = 500, b"content-type: text/plain; charset=utf-8\r\n", b"Internal Server Error"
        self.answer(*answer)

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a whole response.

        Args:
            status: its status.
            lines: its headers as they are sent, without the length and what the server adds.
            body: its body.
        """
        self.response_started = self.response_complete = True
        self.status = status
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        for pair in self.default_headers:
            lines = b"%s: %s\r\n%s" % (*pair, lines)
        head = b"%scontent-length: %d\r\n\r\n" % (lines, len(body))
        self.transport.write(STATUS_LINE[status] + head + body)
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        self.on_response = _nothing


def _nothing() -> None:
    """Replace what would keep the connection."""


def wrapped_requests(task: Any, app: Any, proxied: Any) -> Callable[[Cycle, Any], Any]:
    """Return what runs requests with the wrappers of a task around them.

    It takes the place of uvicorn's ``run_asgi``: an application around the application would cost
    twice what the wrapper does.

    Args:
        task: the task; plugins wrap its calls.
        app: the ASGI application.
        proxied: called as an ASGI application before the wrappers: it notes in the scope what
            trusted proxies say. None: there are none.
    """
    wrapper: Any = starting(task)
    looks_at_end = any(map(awaits, task._call_wrappers))

    async def run(cycle: Any, _: Any) -> None:
        cycle.task, cycle.app = task, app
        try:
            if proxied is not None:
                await proxied(cycle.scope, cycle.receive, cycle.send)
            result = wrapper(cycle, cycle.handle if looks_at_end else cycle.begin)
            if result is not None:
                await result
            error = cycle.error
        except BaseException as raised:
            error = raised
        if error is None and cycle.response_complete:
            cycle.on_response = _nothing
        else:
            await cycle.run_asgi(partial(cycle.end, error))

    return run


class Flow(FlowControl):
    """uvicorn's flow control, which notes when the application let the client send again."""

    resumed: float = 0.0

    def resume_reading(self) -> None:
        """Read from the client; called for each message that the application asks for."""
        if self.read_paused:
            self.read_paused = False
            self.resumed = perf_counter()
            self._transport.resume_reading()
