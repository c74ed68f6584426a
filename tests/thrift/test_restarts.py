"""Restarts, reloads and stops under load: no call is lost, and none holds up the stop."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.thrift import NBServerTask
from sparts.testing.processes import ServiceProcess
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import restart
from sparts.thrift.client import ThriftClient

from tests.processes import clean_environment
from tests.thrift.echo import HERE, Echo, EchoHandler, ask_text, connect, request
from tests.thrift.test_lone_client import become_familiar, slowly
from tests.thrift.test_nbserver import connections_of, engine_of, texts, wait_until

ROOT = Path(__file__).parents[2]


@contextmanager
def restarting(*argv: str) -> Iterator[tuple[ServiceProcess, int]]:
    """Run the service of restarting_service.py; give its process and its port."""
    command = [sys.executable, "-m", "tests.thrift.restarting_service", *HERE, *argv]
    with ServiceProcess(command, cwd=ROOT, env=clean_environment()) as process:
        process.wait_ready()
        yield process, process.wait_for_port()


def tell(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request(lambda client: client.send_tell("restart")))


# -- load ------------------------------------------------------------------------------------------


def connect_for_each(port: int) -> Iterator[None]:
    while True:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            ask_text(client, "fresh")
        yield


def keep_connected(port: int) -> Iterator[None]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        while True:
            ask_text(client, "kept")
            yield


def ask_by_client(port: int) -> Iterator[None]:
    with ThriftClient("127.0.0.1", port, Echo) as client:
        while True:
            assert client.text("asked") == "asked"
            yield


class Load:
    """Threads that make calls until they must end."""

    def __init__(self, port: int, *kinds: Callable[[int], Iterator[None]]) -> None:
        self.failures: list[BaseException] = []
        self.ended = threading.Event()
        self.counts = [0] * len(kinds)
        self.threads = [
            threading.Thread(target=self._run, args=(number, kind(port)))
            for number, kind in enumerate(kinds)
        ]

    def _run(self, number: int, calls: Iterator[None]) -> None:
        try:
            for _ in calls:
                self.counts[number] += 1
                if self.ended.is_set():
                    break
        except Exception as error:
            self.failures.append(error)

    def wait_for_more(self) -> None:
        """Wait until each thread has made some calls more."""
        before = list(self.counts)
        wait_until(
            lambda: (
                self.failures
                or all(now > then + 20 for now, then in zip(self.counts, before, strict=True))
            )
        )

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(30)


def test_no_call_fails_under_restarts_and_reloads() -> None:
    kinds = (*[connect_for_each] * 3, *[keep_connected] * 3, *[ask_by_client] * 2)
    with restarting() as (process, port), Load(port, *kinds) as load:
        for number in range(1, 13):
            load.wait_for_more()
            if number % 3:
                process.send(signal.SIGHUP)
            tell(port)
            process.wait_for_line("All tasks started", number + 1)
        load.wait_for_more()
        load.__exit__()
        assert load.failures == []
        assert process.stop() == 0


def test_no_call_of_lone_client_fails_under_restarts() -> None:
    with restarting() as (process, port), Load(port, keep_connected) as load:
        for number in range(1, 13):
            load.wait_for_more()
            tell(port)
            process.wait_for_line("All tasks started", number + 1)
        load.wait_for_more()
        assert load.failures == []


# -- what a restart hands on -----------------------------------------------------------------------


@pytest.mark.parametrize("argv", [(), ("--thrift-sock", "s"), ("--thrift-tls-cert", "server.pem")])
def test_a_restart_keeps_connections_and_half_requests(
    argv: tuple[str, ...], serve: Any, pem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(pem).parent)
    service = serve(EchoHandler, *argv)
    asked = request(lambda client: client.send_text("<half>"))
    with connect(service) as idle, connect(service) as half:
        for client in (idle, half):
            ask_text(client, "before")
        half.sendall(asked[:9])
        wait_until(lambda: any(each._partial for each in connections_of(service)))
        service = restart(service)
        half.sendall(asked[9:])
        assert texts(half, 1) == ["half"]
        ask_text(idle, "after")
        assert service.requireTask(NBServerTask).n_accepted() == 0


def test_an_attended_client_is_served_after_restarts(serve: Any) -> None:
    service = serve(EchoHandler)
    with connect(service) as client:
        become_familiar(service, client)
        for _ in range(3):
            service = restart(service)
            for number in range(40):
                ask_text(client, str(number))
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_a_restart_hands_on_calls_that_wait(service_factory: ServiceFactory) -> None:
    class Once(EchoHandler):
        def slowly(self, text: str) -> str:
            self.entered.release()
            assert self.stop_event.wait(30) or text != "<first>"
            return text

    arguments = (*HERE, "--thrift-threads", "1")
    service = service_factory(service_of(NBServerTask, Once), *arguments)
    server = service.requireTask(NBServerTask)
    with connect(service) as first, connect(service) as second:
        first.sendall(slowly("<first>"))
        assert service.requireTask(Once).entered.acquire(timeout=30)
        second.sendall(request(lambda client: client.send_text("<second>")))
        wait_until(lambda: server.n_waiting() == 1)
        first.sendall(request(lambda client: client.send_text("<third>")))
        restarting = threading.Thread(target=lambda: restart(service))
        restarting.start()
        assert server.stop_event.wait(30)
        service.requireTask(Once).stop_event.set()
        restarting.join(30)
        assert texts(first, 2) == ["first", "third"]
        assert texts(second, 1) == ["second"]


def test_stop_within_restart_serves_who_was_handed_on(serve: Any) -> None:
    service = serve(EchoHandler)
    handler, server = service.requireTask(EchoHandler), service.requireTask(NBServerTask)
    with connect(service) as busy, connect(service) as other:
        ask_text(other, "before")
        busy.sendall(slowly("<busy>"))
        assert handler.entered.acquire(timeout=30)
        service.restart()
        assert server.stop_event.wait(30)
        wait_until(lambda: len(connections_of(service)) == 1)
        other.sendall(request(lambda client: client.send_text("<other>")))
        service.shutdown()
        wait_until(lambda: not service.health.restarting)
        handler.go_on.set()
        assert texts(busy, 1) == ["busy"]
        assert texts(other, 1) == ["other"]
        assert service.join(30)


# -- stops -----------------------------------------------------------------------------------------


def test_a_stop_answers_who_has_just_connected(service_factory: ServiceFactory) -> None:
    class Patient(NBServerTask):
        FIRST_REQUEST_GRACE = 20.0

    service = service_factory(service_of(Patient, EchoHandler), *HERE, "--stop-timeout", "1h")
    server = service.requireTask(NBServerTask)
    engine = engine_of(service)
    with connect(service) as fresh, connect(service) as kept:
        ask_text(kept, "before")
        wait_until(lambda: server.n_accepted() == 2)
        service.shutdown()
        wait_until(lambda: engine.draining)
        for client in (fresh, kept):
            client.sendall(request(lambda client: client.send_text("<late>")))
        for client in (fresh, kept):
            assert texts(client, 1) == ["late"]
            assert client.recv(1) == b""
        assert service.join(30)


def test_a_stop_goes_on_past_its_limit() -> None:
    with restarting("--stop-timeout", "3s") as (process, port):
        clients: list[Any] = []
        for _ in range(200):
            client = socket.create_connection(("127.0.0.1", port), timeout=30)
            client.sendall(request(lambda client: client.send_slowly("a")) * 5)
            clients.append(client)
        assert process.stop() == 0
        process.wait_for_line(r"Clients cut off, which took too long: \d")
        for client in clients:
            with suppress(OSError):
                client.close()
