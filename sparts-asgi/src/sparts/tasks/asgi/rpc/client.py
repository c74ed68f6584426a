"""HTTPClient: what `sparts.rpc.connect` calls ``http:``, ``https:`` and ``unix:`` URLs with."""

from __future__ import annotations

import ssl as tls
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sparts.rpc.clients import Client, OutgoingCall, collected
from sparts.rpc.errors import UnavailableError
from sparts.rpc.interface import Interface, Method
from sparts.rpc.values import Values
from sparts.tasks.asgi.rpc.awaiting import AsyncPool
from sparts.tasks.asgi.rpc.blocking import Pool
from sparts.tasks.asgi.rpc.exchange import Events, Response, head_of, place_of
from sparts.tasks.asgi.rpc.problems import decoded, error_of, error_of_problem

if TYPE_CHECKING:
    from collections.abc import Sequence


class HTTPClient(Client):
    """Calls methods over HTTP; from any thread, and from any asyncio loop.

    Args:
        url: ``http://HOST:PORT``, ``https:``, or ``unix:/PATH``; a path is put before those of the
            methods.
        interface: whose methods are called.
        ssl: the TLS context of ``https:``; None: the default one, which checks certificates.
        headers: headers of each request, such as ``authorization``.
    """

    def __init__(
        self,
        url: str,
        interface: Interface,
        *,
        ssl: tls.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(url, interface, **options)
        place = place_of(url)
        context = (ssl or tls.create_default_context()) if place.tls else None
        self._pool, self._async_pool = Pool(place, context), AsyncPool(place, context)
        common = head_of({"Host": place.authority, "Content-Type": "application/json"})
        self._head = common + head_of(headers or {})
        self._base = place.base
        self._values: dict[str, tuple[bytes, Values]] = {}
        for name, method in interface.methods.items():
            self._values[name] = self._prepared(method)

    @classmethod
    def list_methods(cls, url: str) -> list[str]:
        """Return the methods of a server, a line each, for ``sparts rpc list``.

        Raises:
            UsageError: the URL is wrong.
            RPCError: the server does not answer well.
        """
        from sparts.tasks.asgi.rpc.plain import listed

        return listed(url)

    def _prepared(self, method: Method) -> tuple[bytes, Values]:
        accept = "text/event-stream" if method.streams else "application/json"
        path = f"{self._base}/{method.interface}/{method.name}"
        head = f"POST {path} HTTP/1.1\r\nAccept: {accept}\r\n".encode() + self._head
        return head, Values(method, items=True)

    def _request(self, call: OutgoingCall, arguments: Sequence[Any]) -> tuple[bytes, Values]:
        self.check_open()
        head, values = self._values[call.method.name]
        body = values.write_arguments(tuple(arguments))
        left = call.seconds_left()
        timeout = b"" if left is None else b"X-Timeout-Ms: %d\r\n" % max(1, int(left * 1000))
        more = head_of(call.headers) if call.headers else b""
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        return b"".join((head, timeout, more, length, body)), values

    def call(self, call: OutgoingCall) -> Any:
        """Make a call."""
        request, values = self._request(call, call.arguments)
        return _result(call, values, self._pool.ask(call, request))

    async def call_async(self, call: OutgoingCall) -> Any:
        """Make a call from a coroutine."""
        request, values = self._request(call, await collected(call))
        return _result(call, values, await self._async_pool.ask(call, request))

    def stream(self, call: OutgoingCall) -> Iterator[Any]:
        """Give the items of a stream as they come."""
        request, values = self._request(call, call.arguments)
        response, reader = Response(), _Items(call, values)
        for data in self._pool.stream(call, request, response):
            yield from reader.items(response, data)
        reader.end(response)

    async def stream_async(self, call: OutgoingCall) -> AsyncIterator[Any]:
        """Give the items of a stream as they come."""
        request, values = self._request(call, await collected(call))
        response, reader = Response(), _Items(call, values)
        async for data in self._async_pool.stream(call, request, response):
            for item in reader.items(response, data):
                yield item
        reader.end(response)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()
        self._async_pool.close()

    async def close_async(self) -> None:
        """Close the connections."""
        self._pool.close()
        await self._async_pool.close_async()


class _Items:
    """Reads the items of a stream."""

    def __init__(self, call: OutgoingCall, values: Values) -> None:
        self._call, self._values = call, values
        self._events, self._body, self._ended = Events(), b"", False

    def items(self, response: Response, data: bytes) -> Iterator[Any]:
        if response.status != 200:
            self._body += data
            return
        for kind, value in self._events.feed(data):
            if kind == b"error":
                problem = decoded(value)
                raise error_of_problem(self._call.method, problem, problem.status)
            if kind == b"end":
                self._ended = True
            else:
                yield self._values.read_result(value)

    def end(self, response: Response) -> None:
        if response.status != 200:
            raise error_of(self._call.method, response, self._body)
        if not self._ended:
            raise UnavailableError("The stream was cut off.")


def _result(call: OutgoingCall, values: Values, response: Response) -> Any:
    body = response.take()
    if response.status == 200:
        return values.read_result(body)
    raise error_of(call.method, response, body)
