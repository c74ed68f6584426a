"""The ASGI and WSGI side of the soaked service, and its clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sparts.tasks.asgi import AsgiTask, WsgiTask

from soak import ledger
from soak.clients import Client, Http, echo, expect
from soak.jobs import JOBS


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Give back what came, or twice a number by way of a queue."""
    if scope["type"] != "http":
        raise ValueError("only HTTP is served here")
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["path"] == "/twice":
        ledger.handed("Items")
        items = scope["sparts.service"].requireTask("Items")
        body = b"%d" % await asyncio.wrap_future(items.submit(int(body)))
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Give back what came."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Asgi(AsgiTask):
    """Serves it."""

    DEFAULT_HOST = "127.0.0.1"
    APP = app
    DEPS = JOBS


class Wsgi(WsgiTask):
    """Serves it in threads."""

    DEFAULT_HOST = "127.0.0.1"
    APP = wsgi_app


def asgi_clients(port: int, wsgi_port: int) -> list[Client]:
    """Make the clients of both."""

    def twice(web: Http, number: int) -> None:
        expect(web.request("POST", "/twice", b"%d" % number), b"%d" % (2 * number))

    clients = []
    for name, at, once in (
        ("ASGI twice", port, twice),
        ("ASGI echo", port, echo),
        ("WSGI echo", wsgi_port, echo),
    ):
        web = Http(at)
        clients.append(Client(name, partial(once, web)))
        clients[-1].close, clients[-1].PAUSE = web.close, 0.02
    return clients
