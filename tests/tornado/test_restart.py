"""Listening sockets belong to the process: a restart resets nobody who waits in them."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from sparts.kernel.health import Health
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import make_service
from sparts.vservice import VService
from sparts.vtask import VTask

from tests.tornado.http_services import (
    WAIT,
    Gate,
    Http,
    Service,
    connected,
    read_answer,
    settle,
)
from tests.tornado.test_http import get, port_of


def test_next_instance_answers_who_waits_in_restart() -> None:
    stopped, go_on = threading.Event(), threading.Event()

    class Gate(VTask):
        """Ends last, and holds up the first stop until the test has connected."""

        LOOPLESS = True

        def stop(self) -> None:
            stopped.set()
            go_on.wait()

    class Http(TornadoHTTPTask):
        DEPS = [Gate]
        DEFAULT_HOST = "127.0.0.1"

    class Service(VService):
        TASKS = [Http]

    thread = make_service(Service).startBG()
    first = thread.service
    port = port_of(first.requireTask(Http))
    assert get(port) == (200, b"Hello, world")
    first.restart()
    stopped.wait()  # the HTTP server has ended, and the next one has not begun
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        go_on.set()
        with client.makefile("rb") as answer:
            assert answer.read().endswith(b"Hello, world")
    first.join()
    thread.service.shutdown()
    thread.join()
    with pytest.raises(ConnectionRefusedError):
        get(port)


def test_stop_during_restart_serves_waiting_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    no_restart = threading.Event()

    class Undecided(Health):
        """Tells when a stop has taken the place of a restart."""

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "restarting" and not value and vars(self).get(name):
                no_restart.set()
            super().__setattr__(name, value)

    monkeypatch.setattr("sparts.kernel.instance.Health", Undecided)
    Gate.begun, Gate.go_on = threading.Event(), threading.Event()
    thread = make_service(Service).startBG()
    service = thread.service
    with connected(service) as busy:
        busy.sendall(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n")
        Gate.begun.wait(WAIT)
        service.restart()
        service.requireTask(Http).stop_event.wait(WAIT)
        settle(service)  # the server accepts no more
        with connected(service) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            service.shutdown()
            assert no_restart.wait(WAIT)
            Gate.go_on.set()
            assert read_answer(busy)[2] == b"late"
            status, headers, body = read_answer(client)
            assert (status, headers["connection"], body) == (200, "close", b"Hello, world")
    thread.join(WAIT)
    assert thread.service is service
    assert thread.status == 0


def test_port_0_stays_the_same_port_over_restarts() -> None:
    class Service(VService):
        TASKS = ["TornadoHTTPTask"]
        DEFAULT_HOST = "127.0.0.1"
        seen: list[int] = []
        third = threading.Event()

    class Notes(VTask):
        DEPS = ["TornadoHTTPTask"]

        def _runloop(self) -> None:
            Service.seen.append(port_of(self.service.requireTask("TornadoHTTPTask")))
            if len(Service.seen) < 3:
                self.service.restart()
            else:
                Service.third.set()

    Service.TASKS = [Notes]
    thread = make_service(Service).startBG()
    Service.third.wait()
    thread.service.shutdown()
    thread.join()
    assert len(Service.seen) == 3
    assert len(set(Service.seen)) == 1


def test_hundred_restarts_under_load_fail_no_request() -> None:
    class Service(VService):
        TASKS = ["TornadoHTTPTask"]
        DEFAULT_HOST = "127.0.0.1"

    thread = make_service(Service).startBG()
    port = port_of(thread.service.requireTask("TornadoHTTPTask"))
    enough = threading.Event()
    answers: list[tuple[int, bytes]] = []

    def ask() -> None:
        while not enough.is_set():
            answers.append(get(port))

    clients = [threading.Thread(target=ask) for _ in range(2)]
    for client in clients:
        client.start()
    for _ in range(100):
        instance = thread.service
        instance.wait_ready()
        instance.restart()
        instance.join()
    enough.set()
    for client in clients:
        client.join()
    thread.service.shutdown()
    thread.join()
    assert answers
    assert set(answers) == {(200, b"Hello, world")}
