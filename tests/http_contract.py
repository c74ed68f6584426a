"""The contracts of servers, for those that speak HTTP."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any, ClassVar

import pytest
from sparts.errors import LoopStoppedError, OptionError
from sparts.testing.certificates import FIRST_CERTIFICATE
from sparts.testing.servers import ServerContract
from sparts.testing.waiting import WAIT, log_of, restart
from sparts.vservice import VService

from tests.certificates import over_tls


def get(path: str = "/", *lines: str) -> bytes:
    """Return a request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def post(path: str, body: bytes, *lines: str, size: int | None = None) -> bytes:
    """Return a request, of a body with all its bytes or the first of a size."""
    length = f"Content-Length: {len(body) if size is None else size}"
    return get(path, length, *lines).replace(b"GET", b"POST", 1) + body


def read_answer(client: socket.socket | ssl.SSLSocket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer that has a length: status, headers by their names in small letters, body."""
    data = b""
    while b"\r\n\r\n" not in data:
        chunk = client.recv(65536)
        if not chunk:
            raise EOFError(data)
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    headers = {name.lower(): value for name, value in pairs}
    while len(body) < int(headers.get("content-length", 0)):
        body += client.recv(65536)
    return int(first.split()[1]), headers, body


def rest(connection: socket.socket) -> bytes:
    """Read to the end."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return bytes(received)


CHUNKED = b"Transfer-Encoding: chunked"
PARTS = {
    "nothing": b"",
    "half a line": b"GET / HT",
    "half of the headers": get()[:-2] + b"X-",
    "half a body": post("/mirror", b"half", size=100),
    "half a streamed body": post("/upload", b"half", size=100),
    "half a chunk": post("/mirror", b"").replace(b"Content-Length: 0", CHUNKED) + b"5\r\nha",
}

HANDSHAKE = get(
    "/talk", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip


def frame(first: int, payload: bytes) -> bytes:
    """Return a frame of a websocket whose mask hides nothing."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xff" + size.to_bytes(8)
    return bytes([first]) + length + bytes(4) + payload


UNASKED = ("nothing", "half a line", "half of the headers")


class Load:
    """Clients that ask until they must end, over a kept connection or new ones.

    Args:
        address: whom they ask.
        keeping: how many keep their connection.
        fresh: how many connect for each request.
    """

    REQUESTS = (get(), post("/mirror", b"x" * 100_000), post("/upload", b"x" * 100_000))

    def __init__(self, address: Any, keeping: int, fresh: int) -> None:
        self.address = address
        self.enough = threading.Event()
        self.answers: list[int] = []
        self.failures: list[object] = []
        kinds = [True] * keeping + [False] * fresh
        self.threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in kinds]

    def _ask(self, kept: bool) -> None:
        number = 0
        try:
            while not self.enough.is_set():
                with socket.create_connection(self.address, WAIT) as client:
                    last = False
                    while not last and not self.enough.is_set():
                        client.sendall(self.REQUESTS[number % len(self.REQUESTS)])
                        number += 1
                        status, headers, _ = read_answer(client)
                        self.answers.append(status)
                        last = not kept or headers.get("connection") == "close"
        except Exception as error:
            self.failures.append(error)

    def __enter__(self) -> Load:
        """Begin."""
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and fail if a request has failed."""
        self.enough.set()
        for thread in self.threads:
            thread.join(WAIT)
        assert self.failures == []
        assert set(self.answers) == {200}


class HTTPContract(ServerContract):
    """What holds for every server that answers a GET of `path` with `body`."""

    path = "/"
    body = b"Hello, world"

    def ask(self, connection: socket.socket) -> None:
        """Get the path, and keep the connection."""
        connection.sendall(get(self.path))
        answer = b""
        while not answer.endswith(self.body):
            received = connection.recv(65536)
            assert received, answer
            answer += received
        assert answer.startswith(b"HTTP/1.1 200 ")


class PatienceContract(HTTPContract):
    """What holds for servers that disconnect clients which are too slow, too many or too large, and
    finish at a stop what has begun.

    ``/mirror`` answers with the body that it gets, ``/large`` with much; `slow` answers `late` when
    it may.
    """

    slow = "/slow"
    late = b"slow"
    answered: ClassVar[tuple[str, int]] = ('responses{status="2xx"}', 1)
    """The counter of answers, and its value after one of two requests."""
    limits: ClassVar[dict[str, str]] = {}
    """Options that have to be smaller than the memory for bodies."""

    @abstractmethod
    def wait_begun(self, task: Any) -> None:
        """Wait until a request of `slow` is under way."""

    @abstractmethod
    def go_on(self, task: Any) -> None:
        """Let it go on."""

    @abstractmethod
    def memory(self, task: Any) -> Any:
        """Return what limits the memory of requests together."""

    # -- helpers -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def serving(self, **options: str) -> Iterator[tuple[VService, Any]]:
        """Run a service with options of the server; give it and the server task."""
        argv = [f"{self.flag(name.replace('_', '-'))}={value}" for name, value in options.items()]
        with self.running(*self.here(), *argv) as service:
            yield service, self.server(service)

    @contextlib.contextmanager
    def client(self, task: Any, sent: bytes = b"") -> Iterator[socket.socket]:
        """Give a connection over which something was sent."""
        with self.connected(task.bound_addrs[0]) as connection:
            connection.sendall(sent)
            yield connection

    def wait_for(self, task: Any, condition: Callable[[], bool]) -> None:
        """Wait until something is so; each look is another turn of the loop."""
        until = monotonic() + WAIT
        while not condition():
            assert monotonic() < until
            task.loop_task.call(lambda: None).result(WAIT)

    def wait_for_counter(self, task: Any, name: str, value: float) -> None:
        """Wait until a counter of the server has a value."""
        self.wait_for(task, lambda: task.service.getCounter(f"{task.name}.{name}") == value)

    # -- time and number ---------------------------------------------------------------------------

    @pytest.mark.parametrize("part", PARTS)
    def test_incomplete_client_is_closed_in_time(self, part: str) -> None:
        """After ``--PREFIX-read-timeout``, and it is counted."""
        with self.serving(read_timeout="200ms") as (_, task):
            with self.client(task, PARTS[part]) as client:
                assert client.recv(1000) == b""
            self.wait_for_counter(task, "timeouts", 1)
            self.wait_for_counter(task, "connections", 0)
            self.ask_at(task.bound_addrs[0])

    def test_single_bytes_give_client_no_more_time(self) -> None:
        """The time is that of all headers."""
        with (
            self.serving(read_timeout="200ms") as (_, task),
            self.client(task, PARTS["half of the headers"]) as client,
        ):
            client.settimeout(0.02)
            for _ in range(500):  # far beyond the limit
                try:
                    client.sendall(b"x")
                    if not client.recv(1):
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            else:
                pytest.fail("It goes on.")
            self.wait_for_counter(task, "timeouts", 1)

    def test_connection_without_next_request_is_closed_in_time(self) -> None:
        """After ``--PREFIX-idle-timeout``; that is no fault."""
        limits = {"idle_timeout": "200ms", "read_timeout": "0"}
        with self.serving(**limits) as (service, task), self.client(task) as client:
            self.ask(client)
            assert client.recv(1000) == b""
            assert service.getCounter(f"{task.name}.timeouts") == 0

    def test_time_of_slow_application_is_not_the_clients(self) -> None:
        """The limits have passed when another client is closed."""
        limits = {"read_timeout": "200ms", "idle_timeout": "200ms"}
        with self.serving(**limits) as (_, task), self.client(task, get(self.slow)) as client:
            self.wait_begun(task)
            with self.client(task) as other:
                assert other.recv(1000) == b""
            self.go_on(task)
            assert read_answer(client)[2] == self.late

    @pytest.mark.parametrize("last", ["Connection: close", "X-Kept: 1"])
    def test_client_that_reads_nothing_is_closed(self, last: str) -> None:
        """After ``--PREFIX-write-timeout``, and it is counted."""
        with self.serving(write_timeout="200ms") as (_, task):
            with self.client(task, get("/large", last)):
                self.wait_for_counter(task, "timeouts", 1)
                self.wait_for_counter(task, "connections", 0)
            self.ask_at(task.bound_addrs[0])

    def test_new_connection_replaces_an_idle_one(self) -> None:
        """``--PREFIX-max-connections``."""
        with self.serving(max_connections="2") as (service, task):
            with self.client(task, get(self.slow)), self.client(task) as idle:
                self.wait_begun(task)
                self.ask(idle)
                self.wait_for_counter(task, *self.answered)
                self.ask_at(task.bound_addrs[0])
                assert rest(idle) == b""
                self.go_on(task)
            assert service.getCounter(f"{task.name}.refused") == 0

    def test_new_connection_is_closed_without_idle_ones(self) -> None:
        """It is counted and logged."""
        with (
            self.serving(max_connections="1") as (service, task),
            log_of(service) as log,
            self.client(task, get(self.slow)) as busy,
        ):
            self.wait_begun(task)
            for _ in range(2):
                with self.client(task) as other:
                    assert other.recv(1) == b""
            log.wait_for_line("too many connections are open")
            assert service.getCounter(f"{task.name}.refused") == 2
            assert len([line for line in log.items if "too many connections" in line]) == 1
            self.go_on(task)
            assert read_answer(busy)[2] == self.late

    def test_no_connections_at_all_are_refused_as_option(self) -> None:
        """The error names the option."""
        flag = self.flag("max-connections")
        with (
            pytest.raises(OptionError, match=f"{flag} must be 1 or more"),
            self.serving(max_connections="0"),
        ):
            pass

    # -- memory of bodies --------------------------------------------------------------------------

    def test_unfinished_bodies_have_a_limit_together(self) -> None:
        """``--PREFIX-max-memory``: the slowest get 503, and one line is logged."""
        with self.serving(max_memory="1MiB", **self.limits) as (service, task):
            unfinished = post("/mirror", bytes(399_999), size=400_000)
            with contextlib.ExitStack() as stack, log_of(service) as log:
                held = [stack.enter_context(self.client(task, unfinished)) for _ in range(12)]
                name = f"{task.name}.bodies_refused"
                self.wait_for(task, lambda: service.getCounter(name) >= 10)
                assert self.memory(task).taken <= 2**20
                self.ask_at(task.bound_addrs[0])
                answers = []
                for client in held:
                    client.setblocking(False)
                    with contextlib.suppress(BlockingIOError):  # it waits for its answer
                        answers.append(client.recv(12))
                assert set(answers) == {b"HTTP/1.1 503"}
            self.wait_for(task, lambda: self.memory(task).taken == 0)
            told = [line for line in log.items if "take more than 1 MiB of memory" in line]
            assert len(told) == 1

    def test_answered_requests_hold_no_memory(self) -> None:
        """One after the other, they may take more than the limit."""
        with (
            self.serving(max_memory="600KiB", **self.limits) as (service, task),
            self.client(task) as client,
        ):
            for _ in range(5):
                client.sendall(post("/mirror", bytes(500_000)))
                assert read_answer(client)[2] == bytes(500_000)
            assert service.getCounter(f"{task.name}.bodies_refused") == 0

    # -- stops -------------------------------------------------------------------------------------

    @pytest.mark.parametrize("again", [False, True], ids=["stop", "restart"])
    def test_answer_under_way_says_that_it_is_last(self, again: bool) -> None:
        """And it comes whole."""
        with self.serving() as (service, task), self.client(task, get(self.slow)) as client:
            self.wait_begun(task)
            service.restart() if again else service.shutdown()
            assert task.stop_event.wait(WAIT)
            self.go_on(task)
            status, headers, body = read_answer(client)
            assert (status, headers["connection"], body) == (200, "close", self.late)
            assert client.recv(1) == b""

    def test_too_slow_request_is_cut_off_and_logged(self) -> None:
        """A stop ends in time."""
        with self.serving() as (service, task), log_of(service) as log:
            task.seconds_to_stop = lambda: 0.0
            with self.client(task, get(self.slow)) as client:
                self.wait_begun(task)
                service.shutdown()
                assert rest(client) == b""
                log.wait_for_line(r"(Requests|Connections) cut off, .*: 1")
            with contextlib.suppress(LoopStoppedError):  # where it has been cancelled
                self.go_on(task)

    @pytest.mark.parametrize("served", [False, True], ids=["new", "served"])
    @pytest.mark.parametrize("part", UNASKED)
    def test_silent_client_does_not_delay_the_stop(
        self, part: str, served: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It has no longer than the grace for its first request."""
        monkeypatch.setattr(self.server_task, "FIRST_REQUEST_GRACE", 0.0)
        with self.serving() as (service, task), log_of(service) as log, self.client(task) as client:
            if served:
                self.ask(client)
            client.sendall(PARTS[part])
            self.ask_at(task.bound_addrs[0])  # so the other has been accepted and read
            service.shutdown()
            assert rest(client) == b""
            assert service.join(WAIT)
            assert not any("cut off" in line for line in log.items)

    @pytest.mark.parametrize("tls", [False, True])
    def test_connections_that_wait_to_be_accepted_are_served(
        self, tls: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stop answers them once, also where the handshake is yet to come."""
        monkeypatch.setattr(self.server_task, "FIRST_REQUEST_GRACE", WAIT)
        held, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            let_go.wait(WAIT)

        with contextlib.ExitStack() as stack:
            if tls:
                service, _ = stack.enter_context(self.running_tls(FIRST_CERTIFICATE))
                task = self.server(service)
            else:
                service, task = stack.enter_context(self.serving())
            task.loop_task.call(hold)
            assert held.wait(WAIT)
            sent = b"" if tls else get()
            clients = [stack.enter_context(self.client(task, sent)) for _ in range(20)]
            service.shutdown()
            assert task.stop_event.wait(WAIT)
            let_go.set()
            for client in clients:
                if tls:
                    client = stack.enter_context(over_tls(client))
                    client.sendall(get())
                status, headers, _ = read_answer(client)
                assert (status, headers["connection"]) == (200, "close")


class ApplicationContract(PatienceContract):
    """What holds for servers of applications, beside that.

    ``/upload`` reads a body; ``/endless`` streams a part at once, and the rest when the task ends;
    ``/talk`` is a websocket that gives back what it gets; there is no ``/missing``.
    """

    limits: ClassVar[dict[str, str]] = {"max_body": "600KiB"}

    # -- requests ----------------------------------------------------------------------------------

    def test_pipelined_requests_are_answered_in_order(self) -> None:
        """However many there are."""
        with self.serving() as (_, task):
            requests = [post("/mirror", b"<%d>" % number) for number in range(200)]
            with self.client(task, b"".join(requests) + get("/", "Connection: close")) as client:
                answers = rest(client).split(b"HTTP/1.1 200 OK\r\n")[1:]
        bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
        assert bodies == [*(b"<%d>" % number for number in range(200)), self.body]

    def test_requests_are_counted_timed_and_in_flight(self) -> None:
        """By the class of their status."""
        with self.serving() as (service, task), self.client(task, get(self.slow)) as busy:
            self.wait_begun(task)
            with self.client(task, get("/missing", "Connection: close")) as other:
                assert rest(other).startswith(b"HTTP/1.1 404")
            self.wait_for_counter(task, "in_flight", 1)
            self.go_on(task)
            assert read_answer(busy)[2] == self.late
            self.wait_for_counter(task, "in_flight", 0)
            counted = ("requests", 'responses{status="2xx"}', 'responses{status="4xx"}')
            read = service.getCounter
            assert [read(f"{task.name}.{name}") for name in counted] == [2, 1, 1]
            assert read(f"{task.name}.request_duration_ms.count.60") == 2
            assert read(f"{task.name}.connections") == 1

    # -- memory of websockets ----------------------------------------------------------------------

    @pytest.mark.parametrize(("parts", "tls"), [(1, False), (3, True)])
    def test_unfinished_messages_have_a_limit_together(
        self, parts: int, tls: bool, pem: str
    ) -> None:
        """Those of websockets, too: the slowest are closed, and one line is logged."""
        size = 300_000
        limits = {"max_memory": "1MiB", **self.limits, **({"tls_cert": pem} if tls else {})}
        with self.serving(**limits) as (service, task), log_of(service) as log:
            requests = self.memory(task)
            with contextlib.ExitStack() as stack:
                held: list[socket.socket] = []
                for _ in range(8):
                    client: socket.socket = stack.enter_context(self.client(task))
                    held.append(stack.enter_context(over_tls(client)) if tls else client)
                    held[-1].sendall(HANDSHAKE)
                    assert read_answer(held[-1])[0] == 101
                    part = bytes(size // parts)
                    for number in range(parts - 1):
                        held[-1].sendall(frame(0 if number else 2, part))
                    held[-1].sendall(frame(0x80 if parts > 1 else 0x82, part)[:-1])
                self.wait_for_counter(task, "bodies_refused", 5)
                assert size < requests.taken <= 2**20
                (client, *_), _, _ = select.select(held, [], [], WAIT)
                head = client.recv(2)
                assert (head[0], client.recv(head[1])[:2]) == (0x88, (1009).to_bytes(2))
            self.wait_for(task, lambda: requests.taken == 0)
            told = [line for line in log.items if "take more than 1 MiB of memory" in line]
            assert len(told) == 1

    def test_answered_messages_hold_no_memory(self) -> None:
        """One after the other, they may take more than the limit."""
        size = 300_000
        with (
            self.serving(max_memory="1MiB", **self.limits) as (service, task),
            self.client(task, HANDSHAKE) as client,
        ):
            assert read_answer(client)[0] == 101
            for _ in range(5):
                client.sendall(frame(0x82, bytes(size)))
                received = 0
                while received < size + 10:
                    received += len(client.recv(1 << 20))
            self.wait_for(task, lambda: self.memory(task).taken == 0)
            assert service.getCounter(f"{task.name}.bodies_refused") == 0

    # -- stops -------------------------------------------------------------------------------------

    def test_request_right_after_the_stop_is_answered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A connection that has served may send one more."""
        monkeypatch.setattr(self.server_task, "FIRST_REQUEST_GRACE", WAIT)
        with self.serving() as (service, task), self.client(task) as client:
            self.ask(client)
            service.shutdown()
            assert task.stop_event.wait(WAIT)
            task.loop_task.call(task.ending.wait).result(WAIT)
            client.sendall(get())
            status, headers, body = read_answer(client)
            assert (status, headers["connection"], body) == (200, "close", self.body)

    def test_stream_can_end_properly_when_task_ends(self) -> None:
        """As its application sees that the task ends."""
        with self.serving() as (service, task), self.client(task, get("/endless")) as client:
            received = b""
            while b"begun" not in received:
                received += client.recv(4096)
            service.shutdown()
            assert b"ended\n\r\n0\r\n\r\n" in rest(client)

    def test_stop_cuts_no_answer_of_a_long_pipeline(self) -> None:
        """It ends with the last one that was begun, which says so."""
        size = 3_000_000

        def send(client: socket.socket) -> None:
            with contextlib.suppress(OSError):  # the server reads no more
                client.sendall(post("/mirror", bytes(size)) * 20)

        with self.serving() as (service, task), self.client(task) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            sending = threading.Thread(target=send, args=(client,))
            sending.start()
            received = client.recv(4096)
            service.shutdown()
            received += rest(client)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            sending.join()
        answers = received.split(b"HTTP/1.1 200 OK\r\n")[1:]
        bodies = [len(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
        assert bodies == [size] * len(answers)
        assert b"connection: close" in answers[-1][:500].lower()

    def test_restarts_under_load_fail_no_request(self) -> None:
        """Over kept connections and new ones."""
        with self.serving() as (service, task):
            with Load(task.bound_addrs[0], keeping=4, fresh=2) as load:
                for _ in range(20):
                    enough = len(load.answers) + 5
                    while len(load.answers) < enough and not load.failures:
                        self.ask_at(load.address)
                    service = restart(service)
            assert len(load.answers) > 100
