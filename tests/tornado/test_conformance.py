"""Sparts-tornado keeps the contracts of the test kit."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import uvloop
from sparts import entry_points
from sparts.options import prefix_of
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.conformance import check_task
from sparts.testing.servers import ServerContract


@pytest.mark.parametrize("name", [e.name for e in entry_points.find("sparts.tasks")
                                  if e.distribution == "sparts-tornado"])  # fmt: skip
def test_every_task_type_of_sparts_tornado_conforms(name: str) -> None:
    task: Any = entry_points.load_task(name, "sparts-tornado")
    prefix = f"--{prefix_of(task)}"
    argv = (f"{prefix}-host", "127.0.0.1", f"{prefix}-port", "0")
    check_task(task, *(argv if issubclass(task, TornadoHTTPTask) else ()))


class TestTornadoHTTPTask(ServerContract):
    """TornadoHTTPTask is a server like every other."""

    server_task = TornadoHTTPTask

    def ask(self, connection: socket.socket) -> None:
        """Get the greeting."""
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"Hello, world")


class TestStatusHTTPTask(ServerContract):
    """StatusHTTPTask is a server like every other."""

    server_task = StatusHTTPTask

    def ask(self, connection: socket.socket) -> None:
        """Get whether the service is alive."""
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200 ")


uvloop.new_event_loop().close()  # with the first, libuv opens a pipe that the process keeps


class TestTornadoHTTPTaskOnUvloop(TestTornadoHTTPTask):
    """And on uvloop."""

    argv = ("--ioloop-uvloop",)
