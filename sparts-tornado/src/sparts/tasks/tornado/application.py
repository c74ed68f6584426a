"""The application of an HTTP task: Tornado's, which counts, times, names and logs its requests."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from sparts.errors import log_error
from sparts.logs import log_fields
from sparts.net.metering import LOST, SMALL, valid_or_new_id
from sparts.tasks.tornado.streams import WholeAnswers, client_of, refusal

from tornado.httputil import HTTPInputError, HTTPMessageDelegate, HTTPServerRequest
from tornado.web import Application, HTTPError, OutputTransform, StaticFileHandler

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable
    from typing import Protocol

    from sparts.net.metering import Meter
    from sparts.tasks.tornado.server import GracefulHTTPServer
    from sparts.tasks.tornado.streams import Stream

    from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine
    from tornado.web import RequestHandler

    class HTTPTask(Protocol):
        """What is needed here of a `TornadoHTTPTask`."""

        name: str
        server: GracefulHTTPServer
        max_body: int

        @property
        def logger(self) -> logging.Logger: ...  # noqa: D102
        @property
        def meter(self) -> Meter: ...  # noqa: D102
        @property
        def _call_wrappers(self) -> Any: ...
        def tornadoRequestLog(self, handler: RequestHandler, /) -> None: ...  # noqa: D102, N802


def request_id(request: HTTPServerRequest) -> str:
    """Return the id of a request: its valid ``X-Request-Id``, or one that was made for it."""
    return request.request_id  # type: ignore[attr-defined, no-any-return]


class StaticFiles(StaticFileHandler):
    """Tornado's, for which a name that no file can have is 404 and not a bug."""

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Find the file; called for each request."""
        try:
            return super().validate_absolute_path(root, absolute_path)
        except (OSError, ValueError) as error:  # too long, or a NUL
            raise HTTPError(404) from error


class CountedApplication(Application):
    """A `tornado.web.Application` whose requests have an id, and are counted, timed and logged."""

    def __init__(self, task: HTTPTask, routes: list[Any], **settings: Any) -> None:
        """Make the application of a task; routes and settings are Tornado's."""
        super().__init__(routes, **{"static_handler_class": StaticFiles, **settings})
        self.task: HTTPTask = task
        self._meter = task.meter
        self._answer: Any = _answering
        if task._call_wrappers:
            from sparts.tasks.tornado import calls  # few services have plugins that wrap calls

            self._answer = calls.wrapped_by(task, _answer_failure)
        self.add_transform(RequestIdHeader)
        self._routes: dict[type[RequestHandler], list[float]] = {}
        self._answering: dict[Any, Any] = {}

    def slowest(self, most: int = 10) -> list[tuple[str, tuple[int, float]]]:
        """Return the handlers whose slowest response took longest: how many responses there were,
        and the seconds of the slowest; from any thread."""
        found = [
            (f"{handler.__module__}.{handler.__qualname__}", (int(count), worst))
            for handler, (count, worst) in list(self._routes.items())
        ]
        return sorted(found, key=lambda each: -each[1][1])[:most]

    def start_request(self, server_conn: Any, request_conn: Any) -> HTTPMessageDelegate:
        """Return what takes the next request of a connection; called by the server."""
        return Exchange(self, request_conn)

    def get_handler_delegate(self, request: Any, target_class: Any, *rest: Any, **more: Any) -> Any:
        """Return what runs a handler; called by Tornado for each request."""
        known = self._answering
        if target_class not in known:
            known[target_class] = answering = self._answer(target_class)
            for name in ("__name__", "__qualname__", "__module__", "__doc__"):
                setattr(answering, name, getattr(target_class, name))
        return super().get_handler_delegate(request, known[target_class], *rest, **more)

    def open_request(self, request: Any, given: str) -> None:
        """Name and count a request, to which the client may have given an id; called when its
        headers have come.
        """
        known = valid_or_new_id(given)
        request.request_id, request.began, request.ended = known, perf_counter(), False
        log_fields.set({"request_id": known})
        self._meter.begin()

    def log_request(self, handler: RequestHandler) -> None:
        """Count and log a response; called by Tornado when it is finished."""
        status = handler.get_status()
        request: Any = handler.request
        if request.ended:  # its client had gone, or it was refused
            return
        if status == 101:
            self.task.server.websocket_opened(handler)  # type: ignore[arg-type]
        seconds = self._ended(request, status)
        route = self._routes.get(type(handler))
        if route is None:
            route = self._routes[type(handler)] = [0, 0.0]
        route[0] += 1
        if seconds > route[1]:
            route[1] = seconds
        if "log_function" in self.settings:
            self.settings["log_function"](handler)
        try:
            self.task.tornadoRequestLog(handler)
        except Exception:
            log_error(self.task.logger, "%s.tornadoRequestLog failed", self.task.name)

    def refused(self, request: Any, status: int) -> None:
        """Count and log a request that got its answer from no handler."""
        self._ended(request, status)

    def lost(self, request: Any) -> None:
        """Count and log a request whose client went before all of it had come."""
        if not request.ended:
            self._ended(request, 0, LOST)

    def _ended(self, request: Any, status: int, outcome: int = 0) -> float:
        request.ended = True
        outcome = outcome or (status // 100 if 100 <= status < 600 else 0)
        seconds: float = self._meter.end(outcome, request.began) - request.began
        if self._meter.logs(outcome):
            self._meter.log(
                outcome,
                status or "lost",
                request.method,
                request.path,
                client_of(request),
                seconds,
                {"request_id": request.request_id},
            )
        return seconds


def _answering(cls: Any) -> type[RequestHandler]:
    """Return a handler's class whose requests are answered whatever the handler raises.

    Tornado answers only if that is an `Exception` or a cancellation.
    """
    execute = cls._execute
    usual = asyncio.iscoroutinefunction(execute)

    class Answering(WholeAnswers, cls):  # type: ignore[misc]
        def _execute(self, transforms: Any, *args: Any, **kwargs: Any) -> Any:
            """Run the handler; called by Tornado once for each request."""
            handling: Any = execute(self, transforms, *args, **kwargs)
            if usual:
                running = asyncio.get_running_loop().create_task(handling)
            else:
                running = asyncio.ensure_future(handling)
            running.add_done_callback(partial(_answer_failure, self))
            return running

    return Answering


def _answer_failure(handler: Any, running: asyncio.Future[None]) -> None:
    """Answer 500 if a handler has raised what Tornado does not answer; the loop logs it."""
    error = None if running.cancelled() else running.exception()
    if error is None:
        return
    try:
        if not handler._finished:
            handler.send_error(500, exc_info=(type(error), error, error.__traceback__))
    except BaseException:
        log_error(handler.application.task.logger, "A request could not be answered")
    if not handler._finished or handler.get_status() == 101:  # nobody reads the websocket now
        handler.request.connection.stream.close()


def _without_host(start_line: Any, headers: HTTPHeaders) -> Any:
    """Return a first line whose target may be a whole URL with the path of it, and note its host.

    So a client asks that takes the server for a proxy (RFC 9112, section 3.2.2).
    """
    scheme, found, rest = start_line.path.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        return start_line
    host, _, path = rest.partition("/")
    headers["Host"] = host
    return start_line._replace(path=f"/{path}")


class Exchange(HTTPMessageDelegate):
    """One request on its way to the handler that answers it."""

    __slots__ = (
        "_application", "_body", "_counted", "_delegate", "_limit", "_most", "_request",
        "_request_conn", "_server", "_stream",
    )  # fmt: skip

    def __init__(self, application: CountedApplication, request_conn: Any) -> None:
        self._application = application
        self._request_conn = request_conn
        self._stream: Stream = request_conn.stream
        self._server = application.task.server
        self._delegate: Any = None
        self._body = False

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Find the handler; called when the headers have come."""
        self._server.stop_waiting(self._stream)
        if not start_line[1].startswith("/"):  # type: ignore[union-attr]
            start_line = _without_host(start_line, headers)
        request = HTTPServerRequest(
            connection=self._request_conn,
            start_line=start_line,  # type: ignore[arg-type]
            headers=headers,
        )
        names = {*headers}  # quicker than to ask for each: that goes through Python's code
        if "Connection" in names and "," in headers["Connection"]:  # Tornado knows no lists
            asked = headers["Connection"].lower().replace(" ", "").split(",")
            self._request_conn._disconnect_on_finish |= "close" in asked
        given = headers["X-Request-Id"] if "X-Request-Id" in names else ""
        self._application.open_request(request, given)
        self._delegate = self._application.find_handler(request)
        has_body = "Content-Length" in names or "Transfer-Encoding" in names
        if has_body:
            self._most = self._application.task.max_body
            self._counted = not getattr(self._delegate, "stream_request_body", True)
            self._request_conn.set_max_body_size = self._raise_limit
        handled: Awaitable[None] | None = self._delegate.headers_received(start_line, headers)
        if has_body:
            self._body, self._request, self._limit = True, request, sys.maxsize
            self._stream.unread, self._stream.refuse_request = True, self.refuse
            self._server.reads_body(self._stream)
            if handled is not None:
                return self._handled(handled, headers)
            self._hold_to_limit(headers)
        return handled

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Hand on a part of the body."""
        self._stream.received += len(chunk)
        if self._stream.received > self._limit:
            self._refuse(self._limit)
        large = self._counted and self._stream.received > SMALL
        if large and not self._server.requests.hold(self._stream, self._stream.received):
            raise HTTPInputError("too much memory")
        handled: Awaitable[None] | None = self._delegate.data_received(chunk)
        return handled and self._handled(handled)

    def _raise_limit(self, most: int) -> None:
        """Take another limit, from the handler, which knows this as ``set_max_body_size``."""
        self._most = most

    def _hold_to_limit(self, headers: HTTPHeaders) -> None:
        """Refuse a body whose announced length is too much; count what comes in chunks.

        Called when the handler has seen the headers, since it may raise the limit.
        """
        self._limit = self._most
        length = headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:20]) > self._most:
            self._refuse(self._most)

    def _refuse(self, limit: int) -> NoReturn:
        """Answer that the body is too long, unless the handler has begun to answer."""
        text = f"The body is longer than {limit} bytes."
        self.refuse("413 Content Too Large", text)
        raise HTTPInputError(text)  # so Tornado reads no further

    def refuse(self, status: str, text: str) -> None:
        """Answer in place of the handler, unless it has begun to, and close the connection."""
        stream, answer = self._stream, b""
        if not stream.answered and not stream.closed():
            answer = refusal(status, text, request_id(self._request))
            self._application.refused(self._request, int(status[:3]))
        stream.refuse(answer)

    async def _handled(self, handled: Awaitable[None], headers: HTTPHeaders | None = None) -> None:
        """Wait for the handler, for which the client is not to blame."""
        self._server.body_read(self._stream)
        began = perf_counter()
        await handled
        self._server.resume_body(self._stream, perf_counter() - began)
        if headers is not None:
            self._hold_to_limit(headers)

    def finish(self) -> None:
        """Have the request answered: all of it has come."""
        if self._body:
            self._server.body_read(self._stream)
            self._stream.unread = self._body = False
        self._delegate.finish()

    def on_connection_close(self) -> None:
        """Give up: the connection has ended before the request did."""
        if self._delegate is not None:
            self._delegate.on_connection_close()
        if self._body:  # all of it has not come, see `finish`
            self._application.lost(self._request)


class RequestIdHeader(OutputTransform):
    """Gives each response the id of its request; notes that the answer begins."""

    __slots__ = ("_id", "_stream")

    def __init__(self, request: HTTPServerRequest) -> None:
        self._id = request_id(request)
        self._stream: Stream = request.connection.stream  # type: ignore[union-attr]

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Set the header; called before the headers are written."""
        headers["X-Request-Id"] = self._id
        self._stream.answered = True
        if self._stream.last:
            headers["Connection"] = "close"
        return status_code, headers, chunk
