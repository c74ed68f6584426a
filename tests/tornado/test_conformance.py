"""Sparts-tornado keeps the contracts of the test kit."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import uvloop
from sparts import entry_points
from sparts.options import prefix_of
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.conformance import check_task

from tests.http_contract import ApplicationContract, HTTPContract
from tests.tornado.http_services import WAIT, Gate, Http


@pytest.mark.parametrize("name", [e.name for e in entry_points.find("sparts.tasks")
                                  if e.distribution == "sparts-tornado"])  # fmt: skip
def test_every_task_type_of_sparts_tornado_conforms(name: str) -> None:
    task: Any = entry_points.load_task(name, "sparts-tornado")
    prefix = f"--{prefix_of(task)}"
    argv = (f"{prefix}-host", "127.0.0.1", f"{prefix}-port", "0")
    check_task(task, *(argv if issubclass(task, TornadoHTTPTask) else ()))


class TestTornadoHTTPTask(ApplicationContract):
    """TornadoHTTPTask is a server of applications like every other."""

    server_task = Http
    slow = "/gate"
    late = b"late"

    def setup_method(self) -> None:
        """Close the gate."""
        Gate.begun, Gate.go_on = threading.Event(), threading.Event()

    def wait_begun(self, task: Any) -> None:
        """Wait for a request at the gate."""
        assert Gate.begun.wait(WAIT)

    def go_on(self, task: Any) -> None:
        """Open the gate."""
        Gate.go_on.set()

    def memory(self, task: Any) -> Any:
        """Return that of its server."""
        return task.server.requests


class TestStatusHTTPTask(HTTPContract):
    """StatusHTTPTask is a server like every other."""

    server_task = StatusHTTPTask
    path = "/livez"
    body = b"\n}\n"


uvloop.new_event_loop().close()  # with the first, libuv opens a pipe that the process keeps


class TestTornadoHTTPTaskOnUvloop(HTTPContract):
    """And on uvloop."""

    server_task = TornadoHTTPTask
    argv = ("--ioloop-uvloop",)
