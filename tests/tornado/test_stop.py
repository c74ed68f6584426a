"""How the HTTP server ends: what has begun is finished, nothing is waited for in vain."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from typing import Any

import pytest
from sparts.errors import TaskFailedError
from sparts.tasks.queue import QueueTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import make_service, service_of
from sparts.vservice import VService
from tornado.web import RequestHandler

from tests.tornado.test_http import port_of


class Slow(RequestHandler):
    """Answers when it is let go."""

    begun: threading.Event
    go_on: threading.Event

    async def get(self) -> None:
        self.begun.set()
        await asyncio.to_thread(self.go_on.wait)
        self.write("late")


class Http(TornadoHTTPTask):
    DEFAULT_HOST = "127.0.0.1"

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/slow", Slow), *super().getApplicationConfig()]


class Service(VService):
    TASKS = [Http]


@pytest.fixture(autouse=True)
def events() -> None:
    Slow.begun, Slow.go_on = threading.Event(), threading.Event()


def test_begun_request_is_answered_and_closed() -> None:
    thread = make_service(Service).startBG()
    connection = http.client.HTTPConnection("127.0.0.1", port_of(thread.service.requireTask(Http)))
    connection.request("GET", "/slow")
    Slow.begun.wait()
    thread.service.shutdown()
    thread.service.requireTask(Http).stop_event.wait()
    Slow.go_on.set()
    assert connection.getresponse().read() == b"late"
    thread.join()
    connection.close()


def test_idle_connection_does_not_hold_up_the_stop() -> None:
    thread = make_service(Service).startBG()
    port = port_of(thread.service.requireTask(Http))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"Hello, world"
    thread.service.shutdown()
    thread.join()
    assert connection.sock is not None
    assert connection.sock.recv(1) == b""
    connection.close()


def test_connection_without_request_is_closed_after_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Http, "FIRST_REQUEST_GRACE", 0.05)
    thread = make_service(Service).startBG()
    port = port_of(thread.service.requireTask(Http))
    with socket.create_connection(("127.0.0.1", port)) as client:
        # A second one is served, so the first has been accepted.
        second = http.client.HTTPConnection("127.0.0.1", port)
        second.request("GET", "/", headers={"Connection": "close"})
        assert second.getresponse().read() == b"Hello, world"
        second.close()
        thread.service.shutdown()
        thread.join()
        assert client.recv(1) == b""


def test_too_slow_request_is_cut_off_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Impatient(Http):
        def seconds_to_stop(self) -> float:
            return 0.0

    thread = make_service(service_of(Impatient), "--stop-timeout", "1h").startBG()
    port = port_of(thread.service.requireTask(Http))
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/slow")
    Slow.begun.wait()
    thread.service.shutdown()
    with pytest.raises(http.client.RemoteDisconnected):
        connection.getresponse()
    Slow.go_on.set()
    thread.join()
    connection.close()
    assert "1 requests were cut off" in caplog.text
    assert thread.status == 0


class Worker(QueueTask):
    """Fails when it is let go; the items behind that are never done."""

    def execute(self, item: Any, context: Any) -> None:
        Slow.go_on.wait()
        raise ValueError("broken")


class Awaiting(RequestHandler):
    """Awaits an item that nobody will work on."""

    async def get(self) -> None:
        task = self.application.task.service.requireTask(Worker)  # type: ignore[attr-defined]
        task.queue.put("fails")
        future = task.submit("waits")
        Slow.begun.set()
        await future


class AwaitingHttp(Http):
    DEPS = (Worker,)

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        return [("/awaits", Awaiting)]


def test_handler_with_a_failed_task_still_answers() -> None:
    thread = make_service(service_of(AwaitingHttp), "--stop-timeout", "60").startBG()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port_of(thread.service.requireTask(AwaitingHttp)), timeout=30
    )
    connection.request("GET", "/awaits")
    Slow.begun.wait()
    Slow.go_on.set()
    assert connection.getresponse().status == 500
    connection.close()
    with pytest.raises(TaskFailedError, match="broken"):
        thread.join()
    assert thread.status == 1
