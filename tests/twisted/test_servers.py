"""TwistedServerTask and TwistedWebTask keep the contract of servers; their connections' end."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sparts.tasks.twisted import TwistedServerTask, TwistedWebTask
from sparts.tasks.twisted.web import HelloWorld
from sparts.testing.loops import WAIT, switches_of
from sparts.testing.running import running, running_task, service_of
from sparts.testing.servers import ServerContract
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.http_contract import PatienceContract, get


class Echo(Protocol):
    transport: Any

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.transport.write(data)


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
        root.putChild(b"", HelloWorld())  # type: ignore[no-untyped-call]
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

    @pytest.mark.parametrize("last", ["Connection: close", "X-Kept: 1"])
    def test_client_that_reads_nothing_is_closed(self, last: str) -> None:
        with (
            self.serving(write_timeout="200ms") as (_, task),
            self.client(task, get("/large", last)),
        ):
            self.wait_for_counter(task, "timeouts", 1)
            self.wait_for_counter(task, "connections", 0)


@pytest.fixture
def client() -> Iterator[Callable[[Any], http.client.HTTPConnection]]:
    """Make HTTP connections to a server task, which are closed at the end."""
    with contextlib.ExitStack() as stack:

        def connect(task: Any) -> http.client.HTTPConnection:
            host, port = task.bound_addrs[0]
            connection = http.client.HTTPConnection(host, port, timeout=WAIT)
            return stack.enter_context(contextlib.closing(connection))

        yield connect


Client = Callable[[Any], http.client.HTTPConnection]
ARGV = ("--web-host", "127.0.0.1")


def test_idle_connection_is_closed_at_once_at_stop(client: Client) -> None:
    class Web(TwistedWebTask):
        FIRST_REQUEST_GRACE = WAIT

    with running(service_of(Web), *ARGV) as service:
        connection = client(service.requireTask(Web))
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"Hello, world"
        connection.request("GET", "/nothing")
        assert connection.getresponse().status == 404


def test_a_fresh_connection_may_still_send_its_request(client: Client) -> None:
    ending = threading.Event()

    class Web(TwistedWebTask):
        FIRST_REQUEST_GRACE = WAIT

        async def stop_in_loop(self) -> None:
            self.reactor.callLater(0, ending.set)
            await super().stop_in_loop()

    with running_task(Web, *ARGV) as task:
        connection = client(task)
        connection.connect()
        task.service.shutdown()
        assert ending.wait(WAIT)
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert answer.read() == b"Hello, world"
        assert answer.getheader("Connection") == "close"


def test_requests_are_counted_and_logged(client: Client) -> None:
    with running_task(TwistedWebTask, *ARGV, "--log-level-for", "twisted.web.access=INFO") as task:
        for number in (1, 2):
            connection = client(task)
            connection.request("GET", "/")
            connection.getresponse().read()
            assert task.requests() == number


def test_idle_server_with_open_connection_never_wakes_up(client: Client) -> None:
    with running_task(TwistedWebTask, *ARGV) as task:
        connection = client(task)
        connection.request("GET", "/")
        connection.getresponse().read()
        [thread] = task.loop_task.threads
        counts = [switches_of(thread)]
        for _ in range(5):  # after the answer, it may have to go to sleep first
            threading.Event().wait(1.2)
            counts.append(switches_of(thread))
            if counts[-1] == counts[-2]:
                break
        assert counts[-1] == counts[-2], counts
