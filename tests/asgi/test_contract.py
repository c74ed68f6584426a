"""AsgiTask keeps the contract of every server."""

from __future__ import annotations

from typing import Any

from sparts.tasks.asgi import AsgiTask, WsgiTask
from sparts.testing.waiting import WAIT

from tests.asgi.applications import task_of
from tests.http_contract import ApplicationContract, HTTPContract


class TestAsgiTask(ApplicationContract):
    """On asyncio's loop."""

    server_task = task_of(AsgiTask)
    body = b"hello"

    def wait_begun(self, task: Any) -> None:
        """Wait for the application."""
        task.loop_task.call(task.board.begun.wait).result(WAIT)

    def go_on(self, task: Any) -> None:
        """Let it go on."""
        task.loop_task.call(task.board.go_on.set).result(WAIT)

    def memory(self, task: Any) -> Any:
        """Return that of its connections."""
        return task._shared.requests


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
