"""A client that is the only one has a thread that waits in its read: served, and left, in time."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.thrift.connection import Connection
from sparts.testing.waiting import log_of
from sparts.vservice import VService

from tests.thrift.echo import (
    AsyncHandler,
    EchoHandler,
    InlineHandler,
    apache_client,
    ask_text,
    connect,
    read_frame,
    request,
)
from tests.thrift.test_nbserver import connections_of, engine_of, texts, wait_until

CALLS = 40
"""More than a client makes before it has a thread of its own."""

by_kind = pytest.mark.parametrize("handler", [EchoHandler, InlineHandler])


def attended(service: VService) -> int:
    return sum(connection.attended for connection in connections_of(service))


def become_familiar(service: VService, client: socket.socket) -> Connection:
    """Have a client attended, and give the server's side of it."""
    for number in range(CALLS):
        ask_text(client, str(number))
    wait_until(lambda: attended(service) == 1)
    (connection,) = connections_of(service)
    return connection


@contextmanager
def familiar(service: VService) -> Iterator[tuple[socket.socket, Connection]]:
    """Connect a client that is attended; give it, and the server's side of it."""
    with connect(service) as client:
        yield client, become_familiar(service, client)


def slowly(text: str) -> bytes:
    return request(lambda client: client.send_slowly(text))


@by_kind
def test_only_client_is_attended_until_there_is_another(
    handler: type[EchoHandler], serve: Any
) -> None:
    service = serve(handler)
    with connect(service) as first:
        for _ in range(3):
            become_familiar(service, first)
            with connect(service) as second:
                for number in range(CALLS):  # while the first is still waited for
                    ask_text(second, f"second {number}")
                ask_text(first, "first")
                wait_until(lambda: not attended(service))
                for number in range(CALLS):
                    ask_text(second, f"second {number}")
                    ask_text(first, f"first {number}")
                assert not attended(service)
            wait_until(lambda: len(connections_of(service)) == 1)


def test_all_calls_have_room_beside_an_attended_client(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-threads", "2")
    task = service.requireTask(EchoHandler)
    with familiar(service) as (first, _), ExitStack() as stack:
        others = [stack.enter_context(connect(service)) for _ in range(2)]
        for other in others:
            other.sendall(slowly("<slow>"))
            assert task.entered.acquire(timeout=30)
        with connect(service) as hostile:  # there is a thread yet that talks to the clients
            hostile.sendall(b"\0\0\0\0")
            assert hostile.recv(1) == b""
        task.go_on.set()
        for other in others:
            assert texts(other, 1) == ["slow"]
        ask_text(first, "first")


def test_many_clients_are_served_beside_a_silent(serve: Any) -> None:
    service = serve(InlineHandler)
    with familiar(service) as (first, _), ExitStack() as stack:
        others = [stack.enter_context(connect(service)) for _ in range(50)]
        for other in others:
            other.sendall(request(lambda client: client.send_text("<a>")) * 100)
        for other in others:
            assert texts(other, 100) == ["a"] * 100
        ask_text(first, "first")


def test_a_client_of_coroutines_is_left_for_each(serve: Any) -> None:
    service = serve(AsyncHandler)
    with apache_client(service) as client:
        for number in range(CALLS):  # `add` is no coroutine, `text` is one
            assert client.add(number, 1) == number + 1
        wait_until(lambda: attended(service) == 1)
        assert client.text("a") == "a"
        wait_until(lambda: not attended(service))
        for number in range(CALLS):
            assert client.text(str(number)) == str(number)
            assert client.add(number, 1) == number + 1


def test_client_without_room_for_calls_is_left(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-threads", "1")
    task, server = service.requireTask(EchoHandler), service.requireTask(NBServerTask)
    with connect(service) as first, connect(service) as second:
        second.close()
        wait_until(lambda: len(connections_of(service)) == 1)
        connection = become_familiar(service, first)
        with connect(service) as busy:
            busy.sendall(slowly("<busy>"))
            assert task.entered.acquire(timeout=30)
            first.sendall(request(lambda client: client.send_text("<waits>")))
            wait_until(lambda: server.n_waiting() == 1)
            assert not connection.attended
            task.go_on.set()
            assert texts(busy, 1) == ["busy"]
            assert texts(first, 1) == ["waits"]


@pytest.mark.parametrize(
    "argv",
    [("--thrift-sock", "s"), ("--thrift-tls-cert", "server.pem"), ("--thrift-idle-timeout", "1h")],
)
def test_unleavable_client_is_not_attended(
    argv: tuple[str, ...], serve: Any, pem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(pem).parent)
    service = serve(EchoHandler, *argv)
    with connect(service) as client:
        for number in range(CALLS):
            ask_text(client, str(number))
            assert not attended(service)


# -- hostile ---------------------------------------------------------------------------------------


def test_rest_of_requests_is_awaited_together(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-request-timeout", "200ms")
    with familiar(service) as (client, connection), log_of(service) as log:
        client.sendall(request(lambda client: client.send_text("a"))[:7])
        wait_until(lambda: not connection.attended)
        assert client.recv(1) == b""
        log.wait_for_line("was closed: a request or its answer was under way")


class Lavish(EchoHandler):
    """Gives more than was asked for."""

    def who(self) -> str:
        return "x" * 12_000_000


def test_answer_that_is_not_taken_holds_no_thread(serve: Any) -> None:
    service = serve(Lavish, "--thrift-request-timeout", "2s")
    with familiar(service) as (client, connection), log_of(service) as log:
        client.sendall(request(lambda client: client.send_who()))
        wait_until(lambda: connection._unsent is not None)
        assert not connection.attended
        log.wait_for_line("was closed: a request or its answer was under way")
    assert service.requireTask(NBServerTask).n_timeouts() == 1


def test_answer_that_is_taken_late_is_sent_wholly(serve: Any) -> None:
    service = serve(Lavish)
    with familiar(service) as (client, connection):
        client.sendall(request(lambda client: client.send_who()))
        wait_until(lambda: connection._unsent is not None)
        assert b"x" * 12_000_000 in read_frame(client)
        become_familiar(service, client)


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def garbage(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert client.recv(1) == b""


@pytest.mark.parametrize("end", [socket.socket.close, reset, garbage])
def test_an_attended_client_that_goes_leaves_nothing(
    end: Callable[[socket.socket], None], serve: Any
) -> None:
    service = serve(EchoHandler)
    for _ in range(5):
        with connect(service) as client:
            become_familiar(service, client)
            end(client)
            wait_until(lambda: not connections_of(service))
    wait_until(
        lambda: engine_of(service)._crew._awake == 1
    )  # as it knows which threads wait for events


# -- its end ---------------------------------------------------------------------------------------


@by_kind
def test_stop_ends_wait_for_attended_client(handler: type[EchoHandler], serve: Any) -> None:
    service = serve(handler)
    with familiar(service) as (client, _):
        service.shutdown()
        assert client.recv(1) == b""
        assert service.join(30)


@by_kind
def test_stop_finishes_what_attended_client_has_asked(
    handler: type[EchoHandler], serve: Any
) -> None:
    service = serve(handler)
    task, server = service.requireTask(EchoHandler), service.requireTask(NBServerTask)
    with familiar(service) as (client, _):
        client.sendall(slowly("<one>") + slowly("<two>"))
        assert task.entered.acquire(timeout=30)
        service.shutdown()
        assert server.stop_event.wait(30)
        client.sendall(slowly("<three>"))
        task.go_on.set()
        assert texts(client, 2) == ["one", "two"]
    assert service.join(30)


def test_endless_client_does_not_delay_the_stop(serve: Any) -> None:
    class Slower(InlineHandler):
        def text(self, text: str) -> str:
            time.sleep(0.001)  # so that the client is never waited for
            return text

    service = serve(Slower, "--stop-timeout", "2s")
    with familiar(service) as (client, _):
        asked = request(lambda client: client.send_text("<a>"))

        def ask_on() -> None:
            with suppress(ConnectionError, AssertionError):
                client.sendall(asked * 500)  # there is always one that is not answered yet
                while texts(client, 1):
                    client.sendall(asked)

        asking = threading.Thread(target=ask_on)
        asking.start()
        service.shutdown()
        assert service.join(30)
        asking.join(30)
        assert not asking.is_alive()


@pytest.mark.parametrize("rest", ["comes", "does not come"])
def test_request_during_the_release_is_answered(rest: str, serve: Any) -> None:
    service = serve(EchoHandler)
    asked = request(lambda client: client.send_text("<a>"))
    with familiar(service) as (client, connection):
        client.sendall(asked[:7])
        wait_until(lambda: connection._partial is not None)
        connection.release()  # as `drain` does that has just seen it attended
        client.sendall(asked[7:9])
        if rest == "comes":
            client.sendall(asked[9:])
            assert texts(client, 1) == ["a"]
            for text in ("b", "c"):
                ask_text(client, text)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        wait_until(lambda: not connections_of(service))


def test_familiar_client_is_seen_by_the_stop(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    service = serve(EchoHandler)
    engine = engine_of(service)
    attends, seen = engine.attends, threading.Event()

    def stop_first(connection: Connection) -> None:
        connection.attended = False  # not yet, when `drain` looks
        service.shutdown()
        wait_until(lambda: engine.draining)
        wait_until(lambda: service.requireTask(NBServerTask).stop_event.is_set())
        connection.attended = True
        seen.set()
        attends(connection)

    monkeypatch.setattr(engine, "attends", stop_first)
    with connect(service) as client, suppress(ConnectionError):
        while not seen.is_set():
            client.sendall(request(lambda client: client.send_text("<a>")))
            if not client.recv(1, socket.MSG_PEEK):
                break
            assert texts(client, 1) == ["a"]
    assert seen.is_set()
    assert service.join(30)
