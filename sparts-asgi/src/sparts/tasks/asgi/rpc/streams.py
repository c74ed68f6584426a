"""Streams: the items of a method as server-sent events or as lines of JSON, as the client takes it.

``Accept: text/event-stream`` gives one event for each item (its data is JSON), one of the type
``error`` (a problem) if the method raises, and one of the type ``end`` at the end. Otherwise each
item is a line (``application/jsonl``), and an error cuts the response off.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sparts.calls import CallRefusedError
from sparts.rpc.errors import RPCError, UnavailableError
from sparts.tasks.asgi.rpc.problems import encoded, problem_of
from sparts.tasks.asgi.rpc.requests import FromHTTP, cancelled_when_lost

if TYPE_CHECKING:
    from sparts.tasks.asgi.rpc.requests import Asked

GRACE = 5.0
"""Seconds that streams may go on when the server stops; then they end with an error."""
EVENTS, LINES = b"text/event-stream", b"application/jsonl"
_END = object()


class Streams:
    """The streams of an application that run; for the thread of its loop."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._ended: set[asyncio.Task[Any]] = set()

    def end(self, seconds: float) -> None:
        """End what still runs after some seconds; called at the stop."""
        asyncio.get_running_loop().call_later(min(GRACE, seconds / 2), self._cancel)

    def _cancel(self) -> None:
        for task in self._running:
            self._ended.add(task)
            task.cancel()

    async def answer(self, route: Any, arguments: Any, scope: Any, send: Any, head: Asked) -> None:
        """Send the items of a stream.

        Raises:
            RPCError: it has failed before its first item.
        """
        events = EVENTS in head.accept
        items = route.served.stream(arguments, FromHTTP(scope), head.deadline)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - ASGI applications run in tasks
        self._running.add(task)
        try:
            with cancelled_when_lost(scope):
                await self._send(route, items, send, events, task)
        finally:
            self._running.discard(task)
            self._ended.discard(task)
            await items.aclose()

    @staticmethod
    async def answer_head(send: Any, head: Asked) -> None:
        """Answer HEAD: the method is not called, as its stream may have no end."""
        await _start(send, EVENTS in head.accept)
        await _part(send, b"", False)

    async def _send(
        self, route: Any, items: Any, send: Any, events: bool, task: asyncio.Task[Any]
    ) -> None:
        started = False
        before, after = (b"data: ", b"\n\n") if events else (b"", b"\n")
        try:
            while True:
                item = await anext(items, _END)
                data = b"" if item is _END else before + route.written(item, True) + after
                if not started:
                    started = True
                    await _start(send, events)
                if item is _END:
                    break
                await _part(send, data)
        except (RPCError, CallRefusedError, asyncio.CancelledError) as error:
            failure: BaseException = error
            if isinstance(error, asyncio.CancelledError):
                if task not in self._ended:
                    raise
                failure = UnavailableError("The server stops.")
            if not started:
                raise failure from error
            if not events:
                raise
            problem = encoded(problem_of(failure, route.method))
            await _part(send, b"event: error\ndata: " + problem + b"\n\n")
        else:
            if events:
                await _part(send, b"event: end\ndata: null\n\n")
        await _part(send, b"", False)


async def _start(send: Any, events: bool) -> None:
    headers = [(b"content-type", EVENTS if events else LINES), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def _part(send: Any, body: bytes, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})
