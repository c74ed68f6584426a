"""TwistedServerTask and TwistedWebTask keep the contract of servers; their connections' end."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from sparts.tasks.twisted import TwistedServerTask, TwistedWebTask
from sparts.tasks.twisted.web import HelloWorld
from sparts.testing.loops import WAIT, switches_of
from sparts.testing.running import running, service_of
from sparts.testing.servers import ServerContract
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.certificates import over_tls
from tests.http_contract import PatienceContract, get, post, read_answer, rest
from tests.twisted.test_twisted_task import Echo


class EchoServer(TwistedServerTask):
    """Echoes."""

    OPT_PREFIX = "echo"

    def make_factory(self) -> Any:
        return Factory.forProtocol(Echo)


class TestTwistedServerTask(ServerContract):
    """TwistedServerTask is one, whatever the factory."""

    server_task = EchoServer

    def ask(self, connection: socket.socket) -> None:
        """Have something echoed that does not fit one record of TLS."""
        text = b"0123456789" * 5000
        connection.sendall(text)
        received = b""
        while len(received) < len(text) and (data := connection.recv(65536)):
            received += data
        assert received == text


class Greeting(Protocol):
    """Greets, and waits for nothing."""

    def connectionMade(self) -> None:  # noqa: N802
        transport: Any = self.transport
        transport.write(b"hello")


class GreetingServer(TwistedServerTask):
    """Greets."""

    OPT_PREFIX = "greeting"
    FIRST_REQUEST_GRACE = WAIT

    def make_factory(self) -> Any:
        return Factory.forProtocol(Greeting)


def test_clients_in_their_handshake_are_served_at_stop(pem: str) -> None:
    with (
        running(service_of(GreetingServer), "--greeting-tls-cert", pem) as service,
        socket.create_connection(service.requireTask(GreetingServer).bound_addrs[0]) as client,
    ):
        task = service.requireTask(GreetingServer)
        task.loop_task.call(lambda: None).result(WAIT)
        service.shutdown()
        assert task.stop_event.wait(WAIT)
        with over_tls(client) as secure:
            assert secure.recv(100) == b"hello"


def test_handshake_that_never_ends_holds_up_no_stop(pem: str) -> None:
    kind: Any = type("GreetingServer", (GreetingServer,), {"FIRST_REQUEST_GRACE": 0.01})
    with running(service_of(kind), "--greeting-tls-cert", pem) as service:
        task: Any = service.requireTask(kind)
        with socket.create_connection(task.bound_addrs[0]):
            task.loop_task.call(lambda: None).result(WAIT)
            service.shutdown()
            assert service.join(WAIT)


# -- requests in flight ----------------------------------------------------------------------------


class Slow(Resource):
    """Answers when it is let."""

    isLeaf = True  # noqa: N815

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asked = threading.Event()
        self.pending: list[Any] = []

    def render(self, request: Any) -> int:
        self.pending.append(request)
        self.asked.set()
        return NOT_DONE_YET

    def answer(self) -> None:
        for request in self.pending:
            if request.channel is not None:  # it has not been cut off
                request.setHeader(b"content-length", b"4")
                request.write(b"done")
                request.finish()


class Mirror(Resource):
    """Answers with what it gets."""

    def render_POST(self, request: Any) -> bytes:  # noqa: N802
        body: bytes = request.content.read()
        return body


class Large(HelloWorld):
    """Answers with more than a client gets that reads nothing."""

    def render_GET(self, request: Any) -> bytes:  # noqa: N802
        return bytes(20_000_000)


class Web(TwistedWebTask):
    """Greets, and has what is slow."""

    def make_resource(self) -> Any:
        root: Any = HelloWorld()  # type: ignore[no-untyped-call]
        root.isLeaf, self.slow = False, Slow()
        for name in (b"", b"nothing"):  # which it answers with 404
            root.putChild(name, HelloWorld())  # type: ignore[no-untyped-call]
        root.putChild(b"slow", self.slow)
        root.putChild(b"mirror", Mirror())  # type: ignore[no-untyped-call]
        root.putChild(b"large", Large())  # type: ignore[no-untyped-call]
        return root


class TestTwistedWebTask(PatienceContract):
    """TwistedWebTask is a server like every other."""

    server_task = Web
    late = b"done"
    answered = ("requests", 2)

    def wait_begun(self, task: Any) -> None:
        """Wait for the request."""
        assert task.slow.asked.wait(WAIT)

    def go_on(self, task: Any) -> None:
        """Answer it, after what a stop does first."""
        self.wait_for(task, lambda: task.site.ending or not task.stop_event.is_set())
        task.loop_task.call(task.slow.answer).result(WAIT)

    def memory(self, task: Any) -> Any:
        """Return that of its site."""
        return task.site.bodies

    def test_body_that_keeps_coming_has_more_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sparts.tasks.twisted.site.MIN_BODY_RATE", 0.1)  # ten seconds a byte
        with (
            self.serving(read_timeout="200ms") as (_, task),
            self.client(task, post("/mirror", b"h", size=2)) as client,
        ):
            with self.client(task) as other:
                assert other.recv(1000) == b""  # the limit has passed
            client.sendall(b"i")
            assert read_answer(client)[2] == b"hi"

    def test_idle_connection_is_closed_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Web, "FIRST_REQUEST_GRACE", WAIT)
        with self.serving() as (service, task), self.client(task, get("/nothing")) as client:
            assert read_answer(client)[0] == 404
            service.shutdown()
            assert rest(client) == b""

    def test_fresh_connection_may_still_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Web, "FIRST_REQUEST_GRACE", WAIT)
        with self.serving() as (service, task), self.client(task) as client:
            self.ask_at(task.bound_addrs[0])  # so the other has been accepted
            service.shutdown()
            self.wait_for(task, lambda: task.site.ending)
            client.sendall(get())
            status, headers, body = read_answer(client)
            assert (status, headers["connection"], body) == (200, "close", self.body)

    def test_requests_are_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "twisted.web.access")
        with self.serving() as (_, task):
            self.ask_at(task.bound_addrs[0])
        assert '"GET / HTTP/1.1" 200 12' in caplog.text

    def test_idle_server_never_wakes_up(self) -> None:
        with self.serving() as (_, task), self.client(task) as client:
            self.ask(client)
            [thread] = task.loop_task.threads
            before = -1
            for _ in range(6):  # after the answer, it may have to go to sleep first
                if before == (before := switches_of(thread)):
                    break
                threading.Event().wait(1.2)
            assert before == switches_of(thread)
