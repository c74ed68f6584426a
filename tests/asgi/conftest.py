"""A running AsgiTask, and connections to it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from sparts.tasks.asgi import AsgiTask
from sparts.testing import ServiceFactory, service_of
from sparts.testing.waiting import WAIT

from tests.asgi.applications import task_of

HERE = ("--asgi-host", "127.0.0.1", "--asgi-port", "0")


class Served:
    """A service of one AsgiTask."""

    def __init__(self, service: Any, name: str = "AsgiTask") -> None:
        self.service = service
        self.name = name

    @property
    def task(self) -> Any:
        """The task."""
        return self.service.requireTask(self.name)

    @property
    def board(self) -> Any:
        """What the test sees of the application."""
        return self.task.board

    def connect(self) -> socket.socket:
        """Return a new connection."""
        return socket.create_connection(self.task.bound_addrs[0], WAIT)

    def client(self) -> http.client.HTTPConnection:
        """Return an HTTP client, not yet connected."""
        host, port = self.task.bound_addrs[0]
        return http.client.HTTPConnection(host, port, timeout=WAIT)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Ask over a connection of its own."""
        client = self.client()
        try:
            client.request("GET", path, headers=headers)
            response = client.getresponse()
            return response.status, response.read()
        finally:
            client.close()

    def wait_for(self, event: Any) -> None:
        """Wait in this thread for an event of the loop's."""
        self.service.requireTask("AsyncioLoopTask").call(event.wait).result(WAIT)

    def go_on(self) -> None:
        """Let the application go on."""
        self.service.requireTask("AsyncioLoopTask").call(self.board.go_on.set).result(WAIT)

    def counter(self, name: str) -> float:
        """Read one of the counters of the task."""
        value: float = self.service.getCounter(f"{self.name}.{name}")
        return value

    def wait_for_counter(self, name: str, value: float) -> None:
        """Wait until a counter has a value."""
        self.wait_until(lambda: self.counter(name) == value)
        assert self.counter(name) == value

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, or for too long; each look is another turn of the loop."""
        loop = self.service.requireTask("AsyncioLoopTask")
        until = monotonic() + WAIT
        while not condition() and monotonic() < until:
            loop.call(lambda: None).result(WAIT)


@pytest.fixture(params=[(), ("--asyncio-uvloop",)], ids=["asyncio", "uvloop"])
def serve(request: Any) -> Iterator[Callable[..., Served]]:
    """Give a function that serves the application of tests, on both loops."""
    factory = ServiceFactory()
    if request.param:  # libuv keeps two pipes for signals, once a process
        factory.warm_up(service_of("AsyncioLoopTask"), *request.param)

    def make(*argv: str, base: Any = AsgiTask, **attributes: Any) -> Served:
        task = task_of(base, **attributes)
        return Served(factory(service_of(task), *HERE, *request.param, *argv))

    try:
        yield make
    finally:
        factory.close()
