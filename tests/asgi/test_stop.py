"""A stop and a restart cut nothing off, also under load."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from time import monotonic
from typing import Any

import pytest
from sparts.testing import log_of, restart, wait_for_event
from sparts.testing.waiting import WAIT

from tests.asgi.conftest import Served
from tests.asgi.test_requests import rest

SLOW = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("again", [False, True], ids=["stop", "restart"])
def test_response_under_way_finishes_and_announces_the_end(serve: Any, again: bool) -> None:
    served = serve()
    task = served.task
    with served.connect() as connection:
        connection.sendall(SLOW)
        served.wait_for(served.board.begun)
        board, loop = served.board, served.service.requireTask("AsyncioLoopTask")
        served.service.restart() if again else served.service.shutdown()
        wait_for_event(task.stop_event, "the stop")
        loop.call(board.go_on.set)
        answer = rest(connection)
    assert answer.endswith(b"slow")
    assert b"connection: close" in answer


def test_stream_without_end_ends_when_the_stop_begins(serve: Any) -> None:
    served = serve()
    with served.connect() as connection:
        connection.sendall(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"begun" not in received:
            received += connection.recv(4096)
        served.service.shutdown()
        assert b"ended\n\r\n0\r\n\r\n" in rest(connection)


def test_request_right_after_the_stop_is_answered(serve: Any) -> None:
    served = serve()
    task, loop = served.task, served.service.requireTask("AsyncioLoopTask")
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while not received.endswith(b"hello"):
            received += connection.recv(4096)
        served.service.shutdown()
        wait_for_event(task.stop_event, "the stop")
        loop.call(task.ending.wait).result(WAIT)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = rest(connection)
    assert answer.endswith(b"hello")
    assert b"connection: close" in answer


def test_pipelined_requests_after_the_stop_are_answered(serve: Any) -> None:
    served = serve()
    task, loop = served.task, served.service.requireTask("AsyncioLoopTask")
    request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n%d"
    with served.connect() as connection:
        connection.sendall(request % 0)
        received = b""
        while not received.endswith(b"\r\n\r\n0"):
            received += connection.recv(4096)
        served.service.shutdown()
        loop.call(task.ending.wait).result(WAIT)
        connection.sendall(b"".join(request % number for number in range(1, 6)))
        answers = rest(connection).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert [answer[-1:] for answer in answers] == [b"1", b"2", b"3", b"4", b"5"]
    assert [b"connection: close" in answer for answer in answers] == [False] * 4 + [True]


def test_stop_cuts_no_answer_of_a_long_pipeline(serve: Any) -> None:
    served = serve()
    size = 3_000_000
    request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)

        def send() -> None:
            with contextlib.suppress(OSError):  # the server reads no more
                connection.sendall(request * 20)

        sending = threading.Thread(target=send)
        sending.start()
        received = connection.recv(4096)
        served.service.shutdown()
        received += rest(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        sending.join()
    answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
    bodies = [len(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    assert bodies == [size] * len(answers)
    assert b"connection: close" in answers[-1][:500]


def test_waiting_clients_are_served_at_the_stop(serve: Any) -> None:
    served = serve()
    task, loop = served.task, served.service.requireTask("AsyncioLoopTask")
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        let_go.wait(WAIT)

    loop.call(hold)
    assert held.wait(WAIT)
    with served.connect() as connection:  # waits in the socket: the loop accepts nobody just now
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        stopping = threading.Thread(target=served.service.shutdown)
        stopping.start()
        wait_for_event(task.stop_event, "the stop")
        let_go.set()
        answer = rest(connection)
        stopping.join()
    assert answer.endswith(b"hello")


def test_slow_request_is_cut_off_and_logged(serve: Any) -> None:
    served = serve("--stop-timeout", "1")
    with log_of(served.service) as log, served.connect() as connection:
        connection.sendall(SLOW)
        served.wait_for(served.board.begun)
        served.service.shutdown()
        assert rest(connection) == b""
        log.wait_for_line("WARNING:Service.AsgiTask:1 connections were cut off")
    assert served.service.join(WAIT)


def test_idle_connections_do_not_hold_up_a_stop(serve: Any) -> None:
    served = serve()
    with served.connect() as fresh, served.connect() as used:
        used.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert used.recv(10) == b"HTTP/1.1 2"
        served.service.shutdown()
        assert rest(fresh) == b""
    assert served.service.join(WAIT)


class Load(threading.Thread):
    """One client, which asks over kept connections until it must end."""

    def __init__(self, served: Served, ended: threading.Event) -> None:
        super().__init__()
        self.address = served.task.bound_addrs[0]
        self.ended = ended
        self.answered = 0
        self.failures: list[str] = []

    def run(self) -> None:
        host, port = self.address
        client = http.client.HTTPConnection(host, port, timeout=WAIT)
        while not self.ended.is_set():
            try:
                client.request("GET", "/")
                response = client.getresponse()
                if (response.status, response.read()) != (200, b"hello"):
                    self.failures.append(str(response.status))
                self.answered += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                client.close()
        client.close()


@pytest.mark.timeout(120)
def test_restarts_under_load_fail_no_request(serve: Any) -> None:
    served = serve()
    ended = threading.Event()
    clients = [Load(served, ended) for _ in range(4)]
    for client in clients:
        client.start()
    service = served.service
    until = monotonic() + 6
    restarts = 0
    while monotonic() < until or restarts < 3:
        before = sum(client.answered for client in clients)
        service = restart(service)
        restarts += 1
        while sum(client.answered for client in clients) < before + 500:
            assert not any(client.failures for client in clients), clients[0].failures
    ended.set()
    for client in clients:
        client.join()
    assert [client.failures for client in clients] == [[], [], [], []]
    assert all(client.answered for client in clients)
