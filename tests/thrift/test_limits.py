"""Limits on memory and connections: a client that wants too much is refused, others are served."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.testing.running import running, service_of
from sparts.testing.waiting import log_of
from sparts.vservice import VService
from thrift.protocol.TCompactProtocol import TCompactProtocolAccelerated
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import TMemoryBuffer

from tests.thrift.echo import (
    AsyncHandler,
    Echo,
    EchoHandler,
    InlineHandler,
    ask_text,
    connect,
    read_frame,
    request,
    ttypes,
)
from tests.thrift.echo_process import EchoProcess
from tests.thrift.test_http import HERE as OVER_HTTP
from tests.thrift.test_http import JSON, post
from tests.thrift.test_lone_client import slowly
from tests.thrift.test_nbserver import wait_until

ROOT = Path(__file__).parents[2]
MIB = 1 << 20


# -- memory ----------------------------------------------------------------------------------------


def many_trees(count: int) -> bytes:
    """Give a compact message that calls `tree` with many empty children, of one byte each."""
    number = bytes(count >> shift & 0x7F | 0x80 for shift in (0, 7, 14, 21)) + b"\0"  # a varint
    head = b"\x82\x21\x00\x04tree\x1c\x29\xfc"
    body = head + number + b"\0" * count + b"\0\0"
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("kind", [(), ("--inline",)], ids=["threads", "inline"])
def test_list_of_many_structs_is_refused_early(kind: tuple[str, ...]) -> None:
    with EchoProcess(*kind) as process, process.connect() as other, process.connect() as greedy:
        ask_text(other, "before")
        before = process.memory("VmHWM")
        greedy.sendall(many_trees(15 * MIB))
        client = Echo.Client(TCompactProtocolAccelerated(TMemoryBuffer(read_frame(greedy))))
        with pytest.raises(TApplicationException) as failed:
            client.recv_tree()
        assert failed.value.type == TApplicationException.PROTOCOL_ERROR
        assert "bytes of memory" in str(failed.value)
        assert process.memory("VmHWM") < before + 100
        ask_text(greedy, "it goes on")
        ask_text(other, "so do others")
        greedy.sendall(many_trees(1000))
        assert len(read_frame(greedy)) > 1000


def test_unfinished_requests_of_all_clients_have_one_limit() -> None:
    with ExitStack() as stack:
        process = stack.enter_context(EchoProcess("--thrift-max-memory", "40MiB"))
        other = stack.enter_context(process.connect())
        ask_text(other, "before")
        before = process.memory("VmHWM")
        for _ in range(20):
            client = stack.enter_context(process.connect())
            with suppress(ConnectionError):
                client.sendall(struct.pack(">I", 15 * MIB) + b"x" * (15 * MIB - 10))
        process.wait_for_line("was closed: requests of all clients take", 18)
        assert process.memory("VmHWM") < before + 80
        ask_text(other, "still served")


def test_calls_that_wait_have_the_same_limit(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-threads", "1", "--thrift-max-memory", "1MiB")
    handler, server = service.requireTask(EchoHandler), service.requireTask(NBServerTask)
    large = request(lambda client: client.send_text("x" * 300_000))
    with ExitStack() as stack, log_of(service) as log:
        busy = stack.enter_context(connect(service))
        busy.sendall(slowly("<busy>"))
        assert handler.entered.acquire(timeout=30)
        clients = [stack.enter_context(connect(service)) for _ in range(4)]
        for number, client in enumerate(clients[:3], 1):
            client.sendall(large)
            wait_until(lambda number=number: server.n_waiting() == number)  # type: ignore[misc]
        with suppress(ConnectionError):
            clients[3].sendall(large)
            assert clients[3].recv(1) == b""
        log.wait_for_line("leaves no room for one of")
        assert server.n_refused() == 1
        handler.go_on.set()
        for client in clients[:3]:
            assert len(read_frame(client)) > 300_000
        wait_until(lambda: server.memory.taken == 0)


def test_coroutines_that_run_have_the_same_limit(serve: Any) -> None:
    class Waiting(AsyncHandler):
        async def text(self, text: str) -> str:  # type: ignore[override]
            while not self.go_on.is_set():
                await asyncio.sleep(0.001)
            return text

    service = serve(Waiting, "--thrift-max-memory", "1MiB")
    handler, server = service.requireTask(Waiting), service.requireTask(NBServerTask)
    large = request(lambda client: client.send_text("x" * 50_000))
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(service)) for _ in range(30)]
        for client in clients:
            client.sendall(large)
        wait_until(lambda: server.n_refused() > 0)
        wait_until(lambda: server.memory.taken > 900_000)
        handler.go_on.set()
        kinds = {len(read_frame(client)) > 50_000 for client in clients}
        assert kinds == {True, False}
        wait_until(lambda: server.memory.taken == 0)


def test_memory_is_given_back_when_clients_go(serve: Any) -> None:
    service = serve(EchoHandler)
    server = service.requireTask(NBServerTask)
    with connect(service) as client:
        client.sendall(struct.pack(">I", 100_000) + b"x" * 50_000)
        wait_until(lambda: server.memory.taken > 40_000)
    wait_until(lambda: server.memory.taken == 0)


# -- over HTTP -------------------------------------------------------------------------------------


def in_json(call: Any) -> bytes:
    buffer = TMemoryBuffer()
    call(Echo.Client(TJSONProtocol(buffer)))
    content: bytes = buffer.getvalue()
    return content


@contextmanager
def over_http(handler: type[EchoHandler], *argv: str) -> Iterator[VService]:
    with running(service_of(ThriftHTTPTask, handler), *OVER_HTTP, *argv) as service:
        yield service


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler])
@pytest.mark.parametrize("content_type", [JSON, "application/vnd.apache.thrift.binary"])
def test_large_messages_are_decoded_beside_the_loop(
    handler: type[EchoHandler], content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sparts.tasks.tornado_thrift import handler as module

    decoded_in: list[threading.Thread] = []

    class Noting(module.TornadoThriftHandler):
        async def _decode(self, body: bytes, read: Any) -> Any:
            def note() -> Any:
                decoded_in.append(threading.current_thread())
                return read()

            return await super()._decode(body, note)

    monkeypatch.setattr("sparts.tasks.tornado_thrift.http.TornadoThriftHandler", Noting)

    def call(text: str) -> bytes:
        if content_type == JSON:
            return in_json(lambda client: client.send_text(text))
        return request(lambda client: client.send_text(text))[4:]

    with over_http(handler) as service:
        loop_threads = service.requireTask(ThriftHTTPTask).loop_task.threads
        for text, beside in (("small", False), ("x" * 200_000, True)):
            status, content = post(service, call(text), content_type)
            assert status == 200
            assert text.encode() in content
            assert (decoded_in.pop() not in loop_threads) is beside


@pytest.mark.parametrize("content_type", [JSON, "application/vnd.apache.thrift.compact"])
def test_heavy_messages_over_http_are_refused(content_type: str) -> None:
    trees = ttypes.Tree(value=1, children=[ttypes.Tree() for _ in range(20_000)])
    body = in_json(lambda client: client.send_tree(trees))
    if content_type != JSON:
        body = many_trees(20_000)[4:]
    with over_http(EchoHandler, "--thrift-http-max-decoded", "1MiB") as service:
        status, content = post(service, body, content_type)
        assert status == 200
        assert b"bytes of memory" in content


def test_bodies_that_arrive_over_http_have_one_limit() -> None:
    with (
        over_http(EchoHandler, "--thrift-http-max-memory", "1MiB") as service,
        ExitStack() as stack,
    ):
        server = service.requireTask(ThriftHTTPTask)
        body = in_json(lambda client: client.send_text("x" * 400_000))
        head = (
            f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: {JSON}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        address = server.bound_addrs[0]
        clients = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(2)]
        for number, client in enumerate(clients, 1):
            client.sendall(head + body[:-1])
            wait_until(lambda number=number: server.memory.taken > 390_000 * number)  # type: ignore[misc]
        assert post(service, body, JSON)[0] == 503
        assert server.n_refused() == 1
        clients[0].sendall(body[-1:])
        assert clients[0].recv(15) == b"HTTP/1.1 200 OK"
        wait_until(lambda: server.memory.taken < 410_000)
        assert post(service, body, JSON)[0] == 200
        stack.close()
        wait_until(lambda: server.memory.taken == 0)


# -- connections -----------------------------------------------------------------------------------


def test_one_connection_too_many_is_closed(serve: Any) -> None:
    service = serve(EchoHandler, "--thrift-max-connections", "2")
    server = service.requireTask(NBServerTask)
    with log_of(service) as log, connect(service) as one, connect(service) as other:
        ask_text(one, "a")
        ask_text(other, "b")
        for _ in range(2):
            with connect(service) as third:
                assert third.recv(1) == b""
        log.wait_for_line(r"connections are open \(2; see --thrift-max-connections\)")
        assert server.n_refused() == 2
        assert len([line for line in log.items if "too many connections" in line]) == 1
        ask_text(one, "still served")
        other.close()
        wait_until(lambda: server.n_connections() == 1)
        with connect(service) as fourth:
            ask_text(fourth, "there is room again")
