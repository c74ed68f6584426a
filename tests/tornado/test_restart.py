"""Listening sockets belong to the process: a restart resets nobody who waits in them."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sparts.kernel.health import Health
from sparts.testing.running import make_service

from tests.tornado.http_services import (
    WAIT,
    Gate,
    Http,
    Service,
    connected,
    read_answer,
    settle,
)


def test_stop_during_restart_serves_waiting_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    no_restart = threading.Event()

    class Undecided(Health):
        """Tells when a stop has taken the place of a restart."""

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "restarting" and not value and vars(self).get(name):
                no_restart.set()
            super().__setattr__(name, value)

    monkeypatch.setattr("sparts.kernel.Health", Undecided)
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
