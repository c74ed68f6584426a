"""ThriftHTTPTask: calls by POST, binary, compact and JSON, with Apache's client."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask, TornadoThriftHandler
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.servers import ServerContract
from sparts.testing.waiting import log_of
from sparts.thrift.client import ThriftClient
from sparts.vservice import VService
from sparts.vtask import VTask
from thrift.protocol.TBinaryProtocol import TBinaryProtocol
from thrift.protocol.TCompactProtocol import TCompactProtocol
from thrift.protocol.TJSONProtocol import TJSONProtocol
from thrift.Thrift import TApplicationException
from thrift.transport.THttpClient import THttpClient

from tests.thrift.echo import (
    AsyncHandler,
    Echo,
    EchoHandler,
    InlineHandler,
    Other,
    OtherHandler,
    request,
    ttypes,
)
from tests.thrift.values import everything

HERE = ("--thrift-http-host", "127.0.0.1", "--thrift-http-port", "0")
JSON = "application/vnd.apache.thrift.json"
PING = request(lambda client: client.send_ping())[4:]
TYPES = {
    "application/vnd.apache.thrift.binary": TBinaryProtocol,
    "application/vnd.apache.thrift.compact": TCompactProtocol,
    JSON: TJSONProtocol,
}


class EchoOverHTTP(ThriftHTTPTask):
    """Serves an EchoHandler over HTTP."""

    OPT_PREFIX = "thrift_http"
    DEPS = (EchoHandler,)


class TestThriftHTTPTask(ServerContract):
    """ThriftHTTPTask is a server like every other."""

    server_task: ClassVar[type[VTask]] = EchoOverHTTP

    def ask(self, connection: socket.socket) -> None:
        """Ask for an echo."""
        body = request(lambda client: client.send_text("hello"))[4:]
        head = f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/x-thrift\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"hello" in answer


@contextmanager
def client(
    service: VService, protocol: Any = TBinaryProtocol, kind: str = "", made: Any = Echo
) -> Iterator[Any]:
    port = service.requireTask(TornadoHTTPTask).bound_addrs[0][1]
    transport = THttpClient(f"http://127.0.0.1:{port}/any/path")
    if kind:
        transport.setCustomHeaders({"Content-Type": kind})
    transport.open()
    try:
        yield made.Client(protocol(transport))
    finally:
        transport.close()


def post(service: VService, body: bytes, kind: str = "application/x-thrift") -> tuple[int, bytes]:
    port = service.requireTask(TornadoHTTPTask).bound_addrs[0][1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/", body, {"Content-Type": kind})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("handler", [EchoHandler, InlineHandler, AsyncHandler])
@pytest.mark.parametrize(
    ("kind", "protocol"), [*TYPES.items(), *(("", protocol) for protocol in TYPES.values())]
)
def test_apaches_client_is_answered_in_its_protocol(
    kind: str, protocol: Any, handler: type[ThriftHandlerTask], service_factory: ServiceFactory
) -> None:
    service = service_factory(service_of(ThriftHTTPTask, handler), *HERE)
    with client(service, protocol, kind) as asking:
        assert asking.text("héllo") == "héllo"
        sent = everything()
        if protocol is TJSONProtocol:  # which cannot read its own infinity
            sent.grid = [[0.5]]
        assert asking.everything(sent) == sent
        assert asking.ping() is None
        asking.tell("once")
        task: Any = service.requireTask(handler)
        assert task.was_told.wait(30)
        assert task.told == ["once"]
        assert asking.who().startswith("127.0.0.1:")
        with pytest.raises(ttypes.Refused) as refused:
            asking.fail("refused")
        assert (refused.value.why, refused.value.code) == ("because", 403)
        with log_of(service) as log, pytest.raises(TApplicationException) as failed:
            asking.fail("otherwise")
        assert failed.value.type == TApplicationException.INTERNAL_ERROR
        assert "secret" not in failed.value.message
        assert any("secret otherwise" in line for line in log.items)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"garbage", "application/x-thrift", 400),
        (b"", "application/x-thrift", 400),
        (b"", "application/json", 400),
        (b"[1,", "application/vnd.apache.thrift.json", 400),
        (b"\x82\x21", "application/vnd.apache.thrift.compact", 400),
        (b"\x80\x01\x00\x01\x00\x00\x00\xff", "application/vnd.apache.thrift.binary", 400),
        (PING, "application/vnd.apache.thrift.compact", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"x" * 5000, "application/x-thrift", 413),
    ],
)
def test_no_call_gets_a_telling_status(
    body: bytes, kind: str, status: int, service_factory: ServiceFactory
) -> None:
    limit = ("--thrift-http-max-frame", "4KiB")
    service = service_factory(service_of(ThriftHTTPTask, EchoHandler), *HERE, *limit)
    assert post(service, body, kind)[0] == status
    assert post(service, PING)[0] == 200


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit, BaseException])
@pytest.mark.parametrize(
    ("server", "protocol"),
    [(NBServerTask, "binary"), (ThriftHTTPTask, "binary"), (ThriftHTTPTask, "json")],
)
def test_whatever_a_coroutine_raises_is_answered_and_counted(
    server: Any, protocol: str, error: type[BaseException], service_factory: ServiceFactory
) -> None:
    class Raising(OtherHandler):
        async def answer(self) -> int:  # type: ignore[override]
            await asyncio.sleep(0)
            raise error

    here = HERE if server is ThriftHTTPTask else ("--thrift-host", "127.0.0.1")
    service = service_factory(service_of(server, Raising), *here)
    path = "/" if server is ThriftHTTPTask else None
    port = service.requireTask(server).bound_addrs[0][1]
    with ThriftClient("127.0.0.1", port, Other, path=path, protocol=protocol) as asking:
        with log_of(service) as log:
            with pytest.raises(TApplicationException, match="answer failed"):
                asking.call("answer")
            log.wait_for_line("ERROR:.*answer failed")
        assert asking.call("text", "goes on") == "GOES ON"
    task: Any = service.requireTask(Raising)
    assert task.n_errors.labels("answer")() == 1


@pytest.mark.parametrize("given", ["processor", "handler", "apache"])
def test_route_takes_processor_or_handler_task(given: str, service_factory: ServiceFactory) -> None:
    class Mixed(TornadoHTTPTask):
        DEPS = (EchoHandler,)

        def getApplicationConfig(self) -> list[Any]:  # noqa: N802
            handler = self.service.requireTask(EchoHandler)
            processors = {
                "processor": handler.processor,
                "handler": handler,
                "apache": Echo.Processor(handler),
            }
            return [("/any/path", TornadoThriftHandler, {"processor": processors[given]})]

    service = service_factory(service_of(Mixed), "--http-host", "127.0.0.1", "--http-port", "0")
    for protocol in TYPES.values():
        with client(service, protocol) as asking:
            assert asking.add(40, 2) == 42


def test_a_stop_finishes_the_call_that_runs(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(ThriftHTTPTask, EchoHandler), *HERE)
    answers: list[str] = []
    with client(service) as asking:
        thread = threading.Thread(target=lambda: answers.append(asking.slowly("late")))
        thread.start()
        handler = service.requireTask(EchoHandler)
        assert handler.entered.acquire(timeout=30)
        service.shutdown()
        assert service.requireTask(ThriftHTTPTask).stop_event.wait(30)
        handler.go_on.set()
        thread.join()
    assert answers == ["late"]
