"""An HTTP server that ends without cutting off a request."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine

FRESH, IDLE, BUSY = "fresh", "idle", "busy"


class GracefulHTTPServer(HTTPServer):
    """Tornado's server, which knows what each of its connections is doing.

    A connection is *fresh* until its first request, *busy* while one is read and answered, and
    *idle* after it. All of this happens in the loop's thread.
    """

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """Make the server; the arguments are Tornado's."""
        super().initialize(*args, **kwargs)
        self._doing: dict[Any, str] = {}
        self._emptied: asyncio.Future[None] | None = None

    async def end(self, grace: float, limit: float | None) -> int:
        """Accept no more, let what has begun finish, and return how many requests were cut off.

        Args:
            grace: seconds that a fresh connection has to begin with its request.
            limit: seconds after which what has not finished is cut off; None: never.
        """
        self.stop()
        self.conn_params.no_keep_alive = True  # responses from now on say so
        self._emptied = asyncio.get_running_loop().create_future()
        self._doing.update(dict.fromkeys(self._connections - self._doing.keys(), FRESH))
        self._close(IDLE)
        if FRESH in self._doing.values():
            await self._wait(grace if limit is None else min(grace, limit))
            self._close(FRESH)
        await self._wait(None if limit is None else max(0.0, limit - grace))
        cut = list(self._doing.values()).count(BUSY)
        await self.close_all_connections()
        return cut

    def _close(self, doing: str) -> None:
        for connection in [conn for conn, what in self._doing.items() if what == doing]:
            connection.stream.close()

    async def _wait(self, seconds: float | None) -> None:
        """Wait until there is no connection any more."""
        if self._doing and self._emptied is not None:
            await asyncio.wait([self._emptied], timeout=seconds)

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        """Begin to wait for a request; called for the first of a connection, and after each."""
        if self._doing.setdefault(server_conn, FRESH) == BUSY:
            self._doing[server_conn] = IDLE
            if self._emptied is not None:
                asyncio.get_running_loop().call_soon(server_conn.stream.close)

        def begun() -> None:
            self._doing[server_conn] = BUSY

        return _Noting(super().start_request(server_conn, request_conn), begun)

    def on_close(self, server_conn: object) -> None:
        """Note that a connection has ended, or was handed on (a websocket)."""
        super().on_close(server_conn)
        self._doing.pop(server_conn, None)
        if not self._doing and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)


class _Noting(HTTPMessageDelegate):
    """Hands on what comes of a request, and notes when it begins."""

    def __init__(self, delegate: HTTPMessageDelegate, begun: Callable[[], None]) -> None:
        self._begun = begun
        self._delegate = delegate
        self.data_received = delegate.data_received  # type: ignore[method-assign]
        self.finish = delegate.finish  # type: ignore[method-assign]
        self.on_connection_close = delegate.on_connection_close  # type: ignore[method-assign]

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Note that the request has begun; called when its headers are there."""
        self._begun()
        return self._delegate.headers_received(start_line, headers)
