"""TwistedServerTask and TwistedWebTask keep the contract of servers; their connections' end."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from sparts.tasks.twisted import TwistedServerTask, TwistedWebTask
from sparts.tasks.twisted.web import HelloWorld
from sparts.testing.loops import WAIT, switches_of
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.testing.servers import ServerContract
from sparts.testing.waiting import log_of
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
            request.setHeader(b"content-length", b"4")
            request.write(b"done")
            request.finish()


class SlowWeb(TwistedWebTask):
    def make_resource(self) -> Any:
        self.slow = Slow()
        return self.slow


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
        """Answer it."""
        task.loop_task.call(task.slow.answer).result(WAIT)

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


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_begun_request_is_answered(kind: str, client: Client) -> None:
    with running_task(SlowWeb, *ARGV, "--twisted-reactor", kind) as task:
        idle = client(task)
        idle.connect()
        busy = client(task)
        busy.request("GET", "/")
        assert task.slow.asked.wait(WAIT)
        task.service.shutdown()
        assert task.stop_event.wait(WAIT)
        assert idle.sock.recv(1) == b""  # after the grace that a fresh one has
        task.loop_task.call(task.slow.answer).result(WAIT)
        answer = busy.getresponse()
        assert answer.read() == b"done"
        assert answer.getheader("Connection") == "close"
    assert task.requests() == 1


def test_idle_connection_is_closed_at_once_at_stop(client: Client) -> None:
    class Web(TwistedWebTask):
        FIRST_REQUEST_GRACE = WAIT

    with running(service_of(Web), *ARGV) as service:
        connection = client(service.requireTask(Web))
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"Hello, world"
        connection.request("GET", "/nothing")
        assert connection.getresponse().status == 404


def test_short_stop_timeout_leaves_time_for_a_request(client: Client) -> None:
    with running_task(SlowWeb, *ARGV, "--stop-timeout", "1s") as task:
        connection = client(task)
        connection.request("GET", "/")
        assert task.slow.asked.wait(WAIT)
        task.service.shutdown()
        assert task.stop_event.wait(WAIT)
        task.loop_task.call(task.slow.answer).result(WAIT)
        assert connection.getresponse().read() == b"done"


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


def test_slow_request_is_cut_off_in_time(client: Client) -> None:
    class Impatient(SlowWeb):
        def seconds_to_stop(self) -> float:
            return 0.0

    service = make_service(service_of(Impatient), *ARGV, "--stop-timeout", "1h")
    thread = service.startBG()
    with log_of(service) as log:
        task = service.requireTask(SlowWeb)
        connection = client(task)
        connection.request("GET", "/")
        assert task.slow.asked.wait(WAIT)
        service.shutdown()
        with pytest.raises(ConnectionError):
            connection.getresponse()
        thread.join()
    assert thread.status == 0
    log.wait_for_line("Requests cut off, which took too long to finish: 1")


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


# -- bodies ----------------------------------------------------------------------------------------


class Size(Resource):
    """Says how long a body is."""

    isLeaf = True  # noqa: N815

    def render_POST(self, request: Any) -> bytes:  # noqa: N802
        return str(len(request.content.read())).encode()


class SizeTask(TwistedWebTask):
    """Serves it."""

    def make_resource(self) -> Any:
        return Size()  # type: ignore[no-untyped-call]


def begin(service: Any, size: int) -> socket.socket:
    """Send a body but for its last byte, and keep the connection."""
    client = socket.create_connection(service.requireTask(SizeTask).bound_addrs[0], WAIT)
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size)
    client.sendall(bytes(size - 1))
    return client


def test_unfinished_bodies_have_a_limit_together() -> None:
    argv = ("--web-host", "127.0.0.1", "--web-port", "0", "--web-max-memory", "1MiB")
    with running(service_of(SizeTask), *argv) as service, contextlib.ExitStack() as stack:
        task: Any = service.requireTask(SizeTask)
        held = [stack.enter_context(begin(service, 400_000)) for _ in range(12)]
        until = monotonic() + WAIT
        while task.bodies_refused() < 10 and monotonic() < until:
            task.loop_task.call(lambda: None).result(WAIT)
        assert task.bodies_refused() == 10
        assert task.site.bodies.taken <= 2**20
        poll = select.poll()
        for client in held:
            poll.register(client, select.POLLIN)
        answers = {client.fileno(): client for client in held}
        (first, _), *_ = poll.poll(WAIT * 1000)
        assert answers[first].recv(12) == b"HTTP/1.1 503"
        with begin(service, 300_000) as client:
            client.sendall(b"x")
            assert client.recv(1000).endswith(b"300000")
            assert task.site.bodies.taken <= 800_000
    assert task.site.bodies.taken == 0
