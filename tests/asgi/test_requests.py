"""AsgiTask: what requests and their responses look like, and what is counted and logged."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from sparts.errors import SpartsError
from sparts.tasks.asgi import AsgiTask
from sparts.testing import log_of, make_service, service_of, wait_for_event, wait_ready
from sparts.testing.waiting import WAIT

from tests.asgi.applications import task_of
from tests.asgi.conftest import HERE, Served
from tests.http_contract import rest


def raw(served: Served, sent: bytes) -> bytes:
    """Send bytes over one connection, and return all that comes back."""
    with served.connect() as connection:
        connection.sendall(sent)
        return rest(connection)


H2C = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
BODIES = {
    "length": b"Content-Length: 5\r\n\r\nhello",
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "none": b"\r\n",
}
HEADS = {name: body.find(b"\r\n\r\n") + 4 if name != "none" else 2 for name, body in BODIES.items()}


@pytest.mark.parametrize("cut", [0, 1, 9, None], ids=["apart", "1 byte", "9 bytes", "at once"])
@pytest.mark.parametrize("body", BODIES)
def test_request_for_another_protocol_is_answered_whole(
    serve: Any, body: str, cut: int | None
) -> None:
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    sent = H2C + BODIES[body] + last
    served: Served = serve()
    with served.connect() as connection:
        at = len(sent) if cut is None else len(H2C) + HEADS[body] + cut
        connection.sendall(sent[:at])
        if at < len(sent):
            served.get("/")  # the first part has been read by now
        connection.sendall(sent[at:])
        answer = rest(connection)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200")[1:]]
    assert bodies == [b"" if body == "none" else b"hello", b"hello"]


def test_http_1_0_gets_stream_without_chunks(serve: Any) -> None:
    """It does not know them (RFC 9112, section 6.1)."""
    head, _, body = raw(serve(), b"GET /streamed HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert body == b"part 0\npart 1\npart 2\n"


@pytest.mark.parametrize("path", [b"/head-first", b"/head-first?stream"], ids=["length", "stream"])
def test_client_may_wait_for_the_head(serve: Any, path: bytes) -> None:
    """The head is kept for the body, but not while the application waits for its client."""
    with serve().connect() as connection:
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" % path)
        connection.sendall(b"Connection: close\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(65536)
        connection.sendall(b"hello")
        assert b"hello" in rest(connection)


def test_head_alone_answers_head_and_the_next_follows(serve: Any) -> None:
    requests = b"HEAD /%s HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = raw(serve(), requests % b"" + requests % b"streamed" + last)
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answer.count(b"hello") == 1
    assert answer.endswith(b"hello")


def test_second_head_is_refused_and_loses_nothing(serve: Any) -> None:
    assert serve().get("/twice") == (200, b"once")


def test_scope_has_the_service_and_the_client(serve: Any) -> None:
    status, body = serve("--asgi-root-path", "/api/").get("/scope")
    assert status == 200
    known = eval(body)  # noqa: S307
    assert known["service"] == "Service"
    assert known["root_path"] == "/api"
    assert known["path"] == "/api/scope"
    assert known["scheme"] == "http"
    assert known["client"][0] == "127.0.0.1"


@pytest.mark.parametrize(
    ("trusted", "client", "scheme"),
    [
        ([], "127.0.0.1", "http"),
        (["192.0.2.0/24"], "127.0.0.1", "http"),
        (["127.0.0.1"], "203.0.113.7", "https"),
        (["127.0.0.0/8"], "203.0.113.7", "https"),
    ],
    ids=["nobody", "another", "the proxy", "its network"],
)
def test_proxy_headers_are_believed_from_trusted_proxies_only(
    serve: Any, trusted: list[str], client: str, scheme: str
) -> None:
    served = serve(*(word for each in trusted for word in ("--asgi-trusted", each)))
    headers = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"}
    known = eval(served.get("/scope", **headers)[1])  # noqa: S307
    assert (known["client"][0], known["scheme"]) == (client, scheme)


def test_expect_100_continue_is_answered(serve: Any) -> None:
    with serve().connect() as connection:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"
        connection.sendall(head + b"Connection: close\r\n\r\n")
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert rest(connection).endswith(b"abc")


def test_http_1_0_is_not_told_to_continue(serve: Any) -> None:
    """It does not know that answer (RFC 9110, section 10.1.1)."""
    head = b"POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    assert raw(serve(), head + b"hello").startswith(b"HTTP/1.1 200 OK")


def test_trailers_become_no_headers(serve: Any) -> None:
    """A proxy looks at headers alone (RFC 9110, section 6.5.1)."""
    head = b"POST /headers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    sent = head + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-User: root\r\n\r\n"
    answer = raw(serve(), sent)
    assert b"transfer-encoding" in answer
    assert b"root" not in answer


def test_exception_is_500_and_logged(serve: Any) -> None:
    served = serve()
    with log_of(served.service) as log:
        assert served.get("/broken")[0] == 500
        log.wait_for_line("ERROR:Service.AsgiTask:Exception in ASGI application")
        log.wait_for_line(r"ERROR:Service.AsgiTask.access:500 GET /broken \(127.0.0.1\)")
    assert served.counter('responses{status="5xx"}') == 1
    assert served.get("/") == (200, b"hello")


def test_exception_after_the_start_ends_the_connection(serve: Any) -> None:
    served = serve()
    answer = raw(served, b"GET /broken-late HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"some" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    served.wait_for_counter('responses{status="lost"}', 1)
    served.wait_for_counter("in_flight", 0)


def test_exception_after_the_response_ends_no_connection(serve: Any) -> None:
    """As of a background task: the connection may be serving the next request by then."""
    served = serve()
    client = served.client()
    client.request("GET", "/broken-after")
    assert client.getresponse().read() == b"well"
    connection = client.sock
    client.request("GET", "/slow")
    served.wait_for(served.board.begun)
    with log_of(served.service) as log:
        served.go_on()
        log.wait_for_line("ERROR:Service.AsgiTask:Exception in ASGI application")
    assert client.getresponse().read() == b"slow"
    assert client.sock is connection
    client.request("GET", "/")
    assert client.getresponse().read() == b"hello"
    assert client.sock is connection
    client.close()


def test_client_that_goes_is_told_and_counted(serve: Any) -> None:
    served = serve()
    with served.connect() as connection:
        connection.sendall(b"GET /disconnect HTTP/1.1\r\nHost: x\r\n\r\n")
        served.wait_for(served.board.begun)
    served.wait_for(served.board.disconnected)
    served.wait_for_counter('responses{status="lost"}', 1)
    served.wait_for_counter("connections", 0)


def test_client_gone_before_the_head_is_no_error(serve: Any) -> None:
    served = serve()
    with log_of(served.service) as log:
        with served.connect() as connection:
            connection.sendall(b"GET /head-left HTTP/1.1\r\nHost: x\r\n\r\n")
            served.wait_for(served.board.begun)
        served.wait_for_counter('responses{status="lost"}', 1)
        served.go_on()
        served.wait_for(served.board.disconnected)
        served.wait_for_counter("in_flight", 0)
    assert not any(line.startswith("ERROR") for line in log.items), log.items


def test_access_log_has_given_id_and_no_query(serve: Any) -> None:
    served = serve("--asgi-access-log", "INFO")
    with log_of(served.service) as log:
        served.get("/?secret=1", **{"X-Request-Id": "mine"})
        log.wait_for_line(r"INFO:Service.AsgiTask.access:200 GET / \(127.0.0.1\)")
    assert not any("secret" in line for line in log.items)


def test_background_work_ends_before_the_service(serve: Any) -> None:
    served = serve()
    assert served.get("/background") == (200, b"later")
    task = served.task
    served.service.shutdown()
    wait_for_event(task.stop_event, "the stop")
    served.go_on()
    assert served.service.join(WAIT)
    assert task.board.after.is_set()


def test_background_work_is_cut_off_in_time(serve: Any) -> None:
    served = serve()
    assert served.get("/background") == (200, b"later")
    served.task.seconds_to_stop = lambda: 0.0
    with log_of(served.service) as log:
        served.service.shutdown()
        log.wait_for_line("WARNING:.*Requests cut off, which took too long: 1")


def test_lifespan_is_told_of_start_and_stop(serve: Any) -> None:
    served = serve()
    board = served.board
    assert board.told == ["lifespan.startup"]
    served.service.shutdown()
    assert served.service.join(WAIT)
    assert board.told == ["lifespan.startup", "lifespan.shutdown"]


@pytest.mark.parametrize("upgrade", [False, True], ids=["request", "websocket"])
def test_application_that_exits_ends_the_service_in_order(upgrade: bool) -> None:
    service = make_service(service_of(task_of(AsgiTask)), *HERE)
    thread = service.startBG()
    wait_ready(service)
    more = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    head = b"GET /exit HTTP/1.1\r\nHost: x\r\n" + (more + key if upgrade else b"")
    assert b" 500 " in raw(Served(service), head + b"\r\n")
    with contextlib.suppress(SpartsError):
        thread.join(WAIT)
    assert thread.status == 3


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
