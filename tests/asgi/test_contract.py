"""AsgiTask keeps the contract of every server."""

from __future__ import annotations

from sparts.tasks.asgi import AsgiTask, WsgiTask

from tests.asgi.applications import task_of
from tests.http_contract import HTTPContract


class TestAsgiTask(HTTPContract):
    """On asyncio's loop."""

    server_task = task_of(AsgiTask)
    body = b"hello"


class TestAsgiTaskOnUvloop(TestAsgiTask):
    """On uvloop's."""

    argv = ("--asyncio-uvloop",)


def wsgi(environ, start_response):  # type: ignore[no-untyped-def]
    """Answer hello."""
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


class TestWsgiTask(HTTPContract):
    """The one of WSGI."""

    body = b"hello"
    server_task = type("WsgiTask", (WsgiTask,), {"APP": staticmethod(wsgi), "__doc__": "WSGI."})
