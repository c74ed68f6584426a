"""RPCApplication: the methods of RPC tasks as an ASGI application.

==============================  ==================================================================
``POST /Geo/distance``          arguments as a JSON object; the result is the body, as JSON
``GET /Geo/distance?a=...``     the same for idempotent methods, and HEAD; what is no string, number
                                or boolean is JSON
``POST /rpc``                   JSON-RPC 2.0, with batches; the methods are ``Geo.distance``
``GET /openapi.json``           OpenAPI 3.1
``GET /``                       a page to read about the methods, and to try them
==============================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.calls import CallRefusedError
from sparts.rpc.errors import NoSuchMethodError, RPCError
from sparts.rpc.transport import find_served
from sparts.tasks.asgi.rpc.cors import with_cors
from sparts.tasks.asgi.rpc.hosts import Hosts
from sparts.tasks.asgi.rpc.jsonrpc import JSONRPC
from sparts.tasks.asgi.rpc.openapi import openapi
from sparts.tasks.asgi.rpc.page import answer_page
from sparts.tasks.asgi.rpc.problems import Problem, problem_of
from sparts.tasks.asgi.rpc.requests import (
    JSON_TYPE,
    FromHTTP,
    GoneError,
    answer,
    answer_problem,
    asked,
    body_of,
    cancelled_when_lost,
    is_json,
)
from sparts.tasks.asgi.rpc.routes import Route
from sparts.tasks.asgi.rpc.streams import Streams

if TYPE_CHECKING:
    from sparts.tasks.asgi.rpc.requests import Asked
    from sparts.vservice import VService

READING = ("GET", "HEAD")


class RPCApplication:
    """An ASGI application that serves the RPC tasks of a service.

    Mount it in an application of FastAPI or Starlette that an `AsgiTask` serves whose ``DEPS`` name
    the RPC tasks: ``api.mount("/v1", RPCApplication(task.service))``.

    Args:
        service: the service.
        serves: the names of the RPC tasks that it serves; none: all.
        cors: the origins whose pages may call, such as ``https://example.com``; ``*``: any.
        served: what to serve instead of what ``serves`` says.
        hosts: says by which names pages may call; None: by addresses, ``localhost`` and the
            machine's own name.

    Raises:
        UsageError: there is no such task, or JSON cannot carry a method.
    """

    def __init__(
        self,
        service: VService,
        serves: Sequence[str] = (),
        cors: Sequence[str] = (),
        served: Any = None,
        hosts: Hosts | None = None,
    ) -> None:
        found = find_served(service, "HTTP", serves) if served is None else served
        self.service = service
        self.routes: dict[str, Route] = {
            f"/{task}/{name}": Route(each)
            for task, methods in found.items()
            for name, each in methods.items()
        }
        self.streams: Streams = Streams()
        self._jsonrpc = JSONRPC(
            {path[1:].replace("/", "."): route for path, route in self.routes.items()}
        )
        self._openapi: tuple[str, bytes] = ("", b"")
        self._hosts = Hosts() if hosts is None else hosts
        self._call: Callable[..., Any] = with_cors(self._serve, cors) if cors else self._serve
        self._short = {path: r for path, r in self.routes.items() if r.served.direct and not cors}

    def whole(self, scope: Any) -> Callable[[Any, bytes], tuple[int, bytes, bytes]] | None:
        """Return what answers a POST of JSON where the method never waits; called by `AsgiTask`."""
        route = self._short.get(scope["path"])
        if route is not None and scope["method"] == "POST" and JSON_TYPE in scope["headers"]:
            return None if self._hosts.refused(scope) else route.answer
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request; ASGI's interface."""
        with suppress(GoneError):
            if scope["type"] == "http":
                await self._call(scope, receive, send)
            elif scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1000})
            else:
                for part in ("startup", "shutdown"):
                    await receive()
                    await send({"type": f"lifespan.{part}.complete"})

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        path, root = scope["path"], scope.get("root_path")
        if root and path.startswith(root):
            path = path[len(root) :]
        if refused := self._hosts.refused(scope):
            await answer_problem(send, Problem("WrongHostError", 403, refused))
            return
        route = self.routes.get(path)
        if route is None:
            await self._serve_other(path, scope, receive, send)
            return
        head, method, body = asked(scope), scope["method"], b""
        if method == "POST":
            if not is_json(head.content_type):
                await answer_problem(send, _wrong_type(head.content_type))
                return
            body = await body_of(receive)
        elif method not in READING or not route.method.idempotent:
            await answer_problem(send, _wrong_method(method), (b"allow", route.allowed))
            return
        elif head.foreign:
            text = f"A page of another origin may not use {method}: use POST, with CORS."
            await answer_problem(send, Problem("CrossOriginError", 403, text))
            return
        try:
            arguments = (
                route.values.read_arguments(body)
                if method == "POST"
                else route.from_query(scope["query_string"])
            )
            if route.method.streams:
                if method == "HEAD":
                    await self.streams.answer_head(send, head)
                else:
                    await self.streams.answer(route, arguments, scope, send, head)
                return
            data = await self._result(route, arguments, scope, head)
        except (RPCError, CallRefusedError) as error:
            await answer_problem(send, problem_of(error, route.method))
            return
        await answer(send, 200, data)

    async def _result(self, route: Route, arguments: Any, scope: Any, head: Asked) -> bytes:
        with cancelled_when_lost(scope):
            result = await route.served.call(arguments, FromHTTP(scope), head.deadline)
        return route.written(result)

    async def _serve_other(self, path: str, scope: Any, receive: Any, send: Any) -> None:
        """Serve what is no method."""
        method = scope["method"]
        if path == "/rpc":
            if method != "POST":
                await answer_problem(send, _wrong_method(method), (b"allow", b"POST"))
                return
            head = asked(scope)
            if not is_json(head.content_type):
                await answer_problem(send, _wrong_type(head.content_type))
                return
            body = await body_of(receive)
            with cancelled_when_lost(scope):
                data = await self._jsonrpc.answer(body, FromHTTP(scope), head.deadline)
            if data:
                await answer(send, 200, data)
            else:
                await send({"type": "http.response.start", "status": 204, "headers": []})
                await send({"type": "http.response.body", "body": b""})
        elif path in ("/", "", "/openapi.json") and method not in READING:
            await answer_problem(send, _wrong_method(method), (b"allow", b"GET, HEAD"))
        elif path == "/openapi.json":
            await answer(send, 200, self.openapi(scope.get("root_path", "")))
        elif path in ("/", ""):
            await answer_page(send, self.service.name, self.routes)
        else:
            error = NoSuchMethodError(f"There is nothing at {path}")
            await answer_problem(send, problem_of(error))

    def openapi(self, root: str = "") -> bytes:
        """Return the OpenAPI document of the methods, as JSON.

        Args:
            root: the path at which the application is mounted.
        """
        if not self._openapi[1] or self._openapi[0] != root:
            document = openapi(self.service, self.routes, root)
            self._openapi = root, msgspec.json.encode(document)
        return self._openapi[1]


def _wrong_type(content_type: bytes) -> Problem:
    given = content_type.decode("latin-1") or "none"
    return Problem(
        "UnsupportedMediaTypeError", 415, f"The body must be application/json, not {given}."
    )


def _wrong_method(method: str) -> Problem:
    return Problem("MethodNotAllowedError", 405, f"{method} is not possible here.")
