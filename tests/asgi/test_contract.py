"""AsgiTask keeps the contract of every server."""

from __future__ import annotations

import socket

from sparts.tasks.asgi import AsgiTask, WsgiTask
from sparts.testing.servers import ServerContract

from tests.asgi.applications import task_of


class HTTPContract(ServerContract):
    """How to talk to an HTTP server."""

    def ask(self, connection: socket.socket) -> None:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"hello"):
            received = connection.recv(65536)
            assert received, answer
            answer += received
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


class TestAsgiTask(HTTPContract):
    """On asyncio's loop."""

    server_task = task_of(AsgiTask)


class TestAsgiTaskOnUvloop(HTTPContract):
    """On uvloop's."""

    server_task = task_of(AsgiTask)
    argv = ("--asyncio-uvloop",)


def wsgi(environ, start_response):  # type: ignore[no-untyped-def]
    """Answer hello."""
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


class TestWsgiTask(HTTPContract):
    """The one of WSGI."""

    server_task = type("WsgiTask", (WsgiTask,), {"APP": staticmethod(wsgi), "__doc__": "WSGI."})
