"""WsgiTask: a WSGI application, in threads beside the loop that serves it."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote_to_bytes

from a2wsgi import WSGIMiddleware
from sparts.clock import timeout_of
from sparts.net.listeners import refuse_below_one
from sparts.options import Option, option
from sparts.tasks.asgi.loading import check_call
from sparts.tasks.asgi.task import AsgiTask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from sparts.vservice import VService


AT_FIRST = 65536
"""Bytes of a body that have to come before a thread begins with its request."""


class WsgiTask(AsgiTask):
    """Serves a WSGI application: of Flask, Django, or any other.

    Each request runs in one of some threads. It finds the service in
    ``environ["sparts.service"]``.
    """

    OPT_PREFIX: ClassVar[str | None] = "wsgi"

    n_threads: Option[int] = option(
        name="threads",
        type=int,
        default=10,
        metavar="N",
        help="requests that are answered at a time; further ones wait",
        reloadable=False,
    )

    def check_options(self, options: argparse.Namespace) -> None:
        """Refuse to have no thread; see `VTask.check_options`."""
        super().check_options(options)
        refuse_below_one(self, options, WsgiTask.n_threads)

    def app(self) -> Any:
        """Return the WSGI application; called once, in `initTask`.

        The default returns what ``--wsgi-app`` or ``APP`` says. An exception fails the start.
        """
        return super().app()

    def asgi_app(self) -> Any:
        """Return the application as ASGI."""
        self._threads = Threads(self.callable_app(), self.service, self.n_threads)
        return self._threads

    def callable_app(self) -> Any:
        """Return what `app` returns, if it can be called as a WSGI application."""
        app = self.app()
        check_call(app, ["environ", "start_response"], "AsgiTask serves ASGI applications.")
        return app

    async def stop_in_loop(self) -> None:
        """Let requests finish, and end the threads."""
        await super().stop_in_loop()
        await self._threads.close(timeout_of(max(0.5, self.seconds_to_stop())))

    def join(self) -> None:
        """Wait for the end of the server."""
        super().join()
        if "_threads" in vars(self):
            self._threads.end()


class Threads:
    """An ASGI application that runs a WSGI one in threads.

    Args:
        app: the WSGI application.
        service: given to it in its environ.
        number: how many threads.
    """

    def __init__(self, app: Any, service: VService, number: int) -> None:
        self._app, self._service = app, service
        run: Any = self._run
        self._middleware = WSGIMiddleware(run, workers=number)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request; called by the server."""
        sender = Sender(send)
        if scope["type"] == "http":
            scope = {**scope, "headers": _distinct(scope["headers"])}
            chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
            body, more = await _begun(receive, None if chunked else AT_FIRST)
            if body is None:
                return
            if chunked:  # applications read no more than the length that they know, as Django
                lengthy = [each for each in scope["headers"] if each[0] != b"transfer-encoding"]
                lengthy.append((b"content-length", b"%d" % len(body)))
                scope = {**scope, "headers": lengthy}
            receive = _again(body, more, receive)
        scope["sparts.gone"] = sender.gone
        await self._middleware(scope, receive, sender)
        if sender.failure is not None:
            raise sender.failure

    def _run(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["sparts.service"] = self._service
        path = unquote_to_bytes(environ["asgi.scope"]["raw_path"]).decode("latin-1")
        environ["PATH_INFO"] = path.removeprefix(environ["SCRIPT_NAME"])  # ASGI's must be UTF-8
        environ["wsgi.multiprocess"] = False
        environ["wsgi.input_terminated"] = True  # so that frameworks read bodies in chunks
        environ["wsgi.errors"] = sys.stderr
        found = self._app(environ, start_response)
        gone = environ["asgi.scope"]["sparts.gone"]
        return _until_gone(found, gone)

    async def close(self, seconds: float | None) -> None:
        """Wait for the end of the threads, for at most some seconds."""
        self.end()
        try:
            waited = asyncio.get_running_loop().run_in_executor(None, self._wait)
        except RuntimeError:  # no thread is left that could wait; they end all the same
            return
        await asyncio.wait([waited], timeout=seconds)

    def _wait(self) -> None:
        self._middleware.executor.shutdown(wait=True)

    def end(self) -> None:
        """Begin no more requests; threads end when they have no work."""
        self._middleware.executor.shutdown(wait=False, cancel_futures=True)


class Sender:
    """ASGI's ``send`` for one request of a2wsgi, which must not raise: a thread would wait for it.

    Args:
        send: the server's.
    """

    def __init__(self, send: Any) -> None:
        self._send = send
        self._cycle = getattr(send, "__self__", None)  # uvicorn's: it drops what nobody reads
        self._left: int | None = None  # bytes of the body, where its length was announced
        self._over = False
        self.gone: threading.Event = threading.Event()
        """Set when nothing more can be sent."""
        self.failure: Exception | None = None
        """What the server raised."""

    async def __call__(self, message: Any) -> None:
        """Send a message; the last byte of a body makes the response complete."""
        if message["type"] == "http.response.start":
            lengths = [v for name, v in message["headers"] if name == b"content-length"]
            self._left = int(lengths[0]) if lengths and lengths[0].isdigit() else None
        elif self._left is not None:
            self._left -= len(message["body"])
            message["more_body"] = message.get("more_body", False) and self._left != 0
        if not self._over and self.failure is None:
            try:
                await self._send(message)
            except Exception as error:
                self.failure = error
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                self._over = True
        if self.failure is not None or getattr(self._cycle, "disconnected", False):
            self.gone.set()


def _distinct(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers without those whose name in an environ would be that of another.

    A name with underscores would pass for one with hyphens, which a proxy sets or removes. Several
    lists of cookies become one.
    """
    kept = [pair for pair in headers if b"_" not in pair[0]]
    cookies = [value for name, value in kept if name == b"cookie"]
    if len(cookies) > 1:
        kept = [pair for pair in kept if pair[0] != b"cookie"]
        kept.append((b"cookie", b"; ".join(cookies)))
    return kept


async def _begun(receive: Any, enough: int | None) -> tuple[bytes | None, bool]:
    """Return a body, or as many bytes of it as are enough, and whether more comes.

    So a client that sends slowly holds no thread. None instead of a body: the client has gone.
    """
    body, more = bytearray(), True
    while more and (enough is None or len(body) < enough):
        message = await receive()
        if message["type"] == "http.disconnect":
            return None, False
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body), more


def _again(body: bytes, more: bool, receive: Any) -> Any:
    """Return ``receive`` that gives a body first."""
    begin = [{"type": "http.request", "body": body, "more_body": more}]

    async def go_on() -> Any:
        return begin.pop() if begin else await receive()

    return go_on


def _until_gone(parts: Iterable[bytes], gone: threading.Event) -> Iterator[bytes]:
    """Give the parts of a response, until its client has gone; then it is closed, as WSGI asks."""
    try:
        for part in parts:
            yield part
            if gone.is_set():
                return
    finally:
        getattr(parts, "close", lambda: None)()
