"""Calls that the connection itself answers: inline methods whose request has come as a whole."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import pytest
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.asgi.rpc import RPCApplication, RPCHTTPTask
from sparts.testing import ServiceFactory, service_of
from sparts.testing.waiting import WAIT

from tests.rpc.conftest import HERE, Web
from tests.rpc.geo import Fast
from tests.wrapping import wrapped_by

ID = "X-Request-Id: of-the-test"


def request(path: str, body: Any, *lines: str, version: str = "1.1") -> bytes:
    data = json.dumps(body)
    head = [
        f"POST {path} HTTP/{version}", "Host: a", "Content-Type: application/json",
        f"Content-Length: {len(data)}", *lines,
    ]  # fmt: skip
    return "\r\n".join([*head, "", data]).encode()


@contextmanager
def connected(web: Web) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", web.port), WAIT) as client:
        yield client


def answers(client: socket.socket, count: int) -> list[tuple[str, str]]:
    """Read the start and the body of so many answers."""
    found = []
    with client.makefile("rb") as file:
        for _ in range(count):
            start, length = file.readline().decode().strip(), 0
            while line := file.readline().strip():
                if line.startswith(b"content-length:"):
                    length = int(line.split()[1])
            found.append((start, file.read(length).decode()))
    return found


def begun(web: Web, number: int) -> None:
    """Wait until so many requests have begun."""
    task, until = web.service.requireTask("RPCHTTPTask"), monotonic() + WAIT
    while task.requests() < number:
        assert monotonic() < until
        web.service.requireTask("AsyncioLoopTask").call(lambda: None).result(WAIT)


def test_one_connection_serves_many_calls(factory: ServiceFactory) -> None:
    service = factory(service_of(Fast, RPCHTTPTask), *HERE, "--rpc-http-max-headers", "1000")
    with connected(Web(service)) as client:
        for number in range(20):
            client.sendall(request("/Fast/half", {"n": number}))
            start, body = answers(client, 1)[0]
            assert number == 13 or (start, body) == ("HTTP/1.1 200 OK", str(number / 2))
    factory.stop(service)
    task = service.requireTask("RPCHTTPTask")
    ended = [task.responses.labels(name)() for name in ("2xx", "5xx")]
    assert (task.requests(), ended) == (20, [19, 1])


def test_calls_that_come_in_parts_are_answered(web: Web) -> None:
    whole = request("/Fast/length", {"text": "a" * 50})
    for at in (whole.index(b"\r\n\r\n") + 4, len(whole) - 3):
        before = web.service.requireTask("RPCHTTPTask").requests()
        with connected(web) as client:
            client.sendall(whole[:at])
            begun(web, before + 1)
            client.sendall(whole[at:])
            assert answers(client, 1) == [("HTTP/1.1 200 OK", "50")]


def test_pipelined_calls_are_answered_in_order(web: Web) -> None:
    calls = [("/Fast/half", 2), ("/Fast/half", 4), ("/Geo/half", 6), ("/Fast/half", 8)]
    with connected(web) as client:
        client.sendall(b"".join(request(path, {"n": n}) for path, n in calls) * 20)
        bodies = [body for _, body in answers(client, 80)]
    assert bodies == ["1.0", "2.0", "3", "4.0"] * 20


def test_call_before_what_is_no_http_is_answered(web: Web) -> None:
    with connected(web) as client:
        client.sendall(request("/Fast/half", {"n": 2}) + b"no request\r\n\r\n")
        (first, body), (second, _) = answers(client, 2)
    assert (first, body) == ("HTTP/1.1 200 OK", "1.0")
    assert second.startswith("HTTP/1.1 400 ")


def test_long_bodies_are_answered_in_turn(web: Web) -> None:
    with connected(web) as client:
        for length in (70_000, 1_000_000, 3):
            client.sendall(request("/Fast/length", {"text": "a" * length}))
            assert answers(client, 1)[0][1] == str(length)


def test_client_may_wait_for_100_continue(web: Web) -> None:
    whole = request("/Fast/half", {"n": 2}, "Expect: 100-continue")
    head, body = whole.split(b"\r\n\r\n")
    with connected(web) as client:
        client.sendall(head + b"\r\n\r\n")
        assert client.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(body)
        assert answers(client, 1)[0][1] == "1.0"


@pytest.mark.parametrize(("line", "version"), [("Connection: close", "1.1"), ("X: y", "1.0")])
def test_last_call_closes_its_connection(web: Web, line: str, version: str) -> None:
    with connected(web) as client:
        client.sendall(request("/Fast/half", {"n": 2}, line, version=version))
        received = b""
        while data := client.recv(4096):
            received += data
    assert b"\r\nconnection: close\r\n" in received
    assert b"\r\ncontent-type: application/json\r\n" in received
    assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", received)
    assert received.endswith(b"\r\n\r\n1.0")


def test_contexts_of_calls_are_apart(web: Web) -> None:
    with connected(web) as client:
        client.sendall(request("/Fast/leak", {}) * 2)
        assert [body for _, body in answers(client, 2)] == ["false", "false"]


def test_errors_of_calls_are_problems(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    calls = [("half", {"n": 13}), ("half", {"n": "1"}), ("cancel", {}), ("half", {"n": 4})]
    with connected(web) as client:
        client.sendall(b"".join(request(f"/Fast/{name}", body, ID) for name, body in calls))
        found = answers(client, 4)
    assert [start[9:12] for start, _ in found] == ["500", "400", "500", "200"]
    assert json.loads(found[0][1])["id"] == "of-the-test"
    assert json.loads(found[1][1])["detail"] == "n: expected int, got str"
    assert "500 POST /Fast/half" in caplog.text
    assert "internal error of-the-test" in caplog.text


class Mounted(AsgiTask):
    """Serves the methods below a path, as a part of an application."""

    DEPS = (Fast,)
    OPT_PREFIX = "rpc-http"

    def app(self) -> Any:
        inner = RPCApplication(self.service)

        async def outer(scope: Any, receive: Any, send: Any) -> None:
            async def marked(message: Any) -> None:
                if "headers" in message:
                    message["headers"].append((b"x-outer", b"1"))
                await send(message)

            await inner(scope, receive, marked)

        return outer


def test_plugins_and_outer_applications_see_calls(factory: ServiceFactory) -> None:
    seen: list[Any] = []

    async def note(call: Any, proceed: Callable[[], Any]) -> Any:
        try:
            return await proceed()
        finally:
            if call.kind == "http":
                seen.append(call.attributes["status"])

    service = factory(wrapped_by(note, Fast, RPCHTTPTask), *HERE)
    with connected(Web(service)) as client:
        client.sendall(request("/Fast/half", {"n": 2}) + request("/Fast/half", {"n": 13}))
        assert answers(client, 2)[0][1] == "1.0"
    factory.stop(service)
    assert seen == [200, 500]
    service = factory(service_of(Fast, Mounted), *HERE)
    with connected(Web(service, "Mounted")) as client:
        client.sendall(request("/Fast/half", {"n": 2}, "Connection: close"))
        assert b"\r\nx-outer: 1\r\n" in client.makefile("rb").read()
