"""Spans of calls, as a collector gets them."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from fastapi import FastAPI
from opentelemetry import trace
from sparts.calls import CallRefusedError, Reason
from sparts.errors import TryLater
from sparts.options import option
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.event import EventTask
from sparts.tasks.grpc import GrpcClientTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.select import SelectTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import running, running_task, service_of
from sparts.testing.waiting import WAIT, restart
from sparts.thrift.client import AsyncThriftClient, ThriftClient
from sparts.vservice import VService
from tornado.web import RequestHandler

from tests.core.log_helpers import bare_root
from tests.grpc.greeters import GreeterTask, Text, pb2_grpc
from tests.otel.collector import Collector
from tests.processes import ServiceProcess
from tests.thrift.echo import EchoHandler, EchoServer, apache_client
from tests.wrapping import wrapped_by

HTTP = ("--http-host", "127.0.0.1", "--http-port", "0")
SERVER, CLIENT, CONSUMER, INTERNAL = 2, 3, 5, 1
ERROR = 2


class Page(RequestHandler):
    """Answers as the path says."""

    def get(self, what: str) -> None:
        """Answer, or fail."""
        task: Any = self.application.task  # type: ignore[attr-defined]
        task.logger.info("Answering")
        if what == "fails":
            raise ValueError(f"secret is {task.service.getOption('page_password')}")
        if what == "submits":
            task.service.requireTask(Work).submit("from a page").result(WAIT)
        self.write("ok")


class Pages(TornadoHTTPTask):
    """Serves pages."""

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the routes."""
        return [("/pages/([a-z]+)", Page)]


class Work(QueueTask[str, str]):
    """Gives back what it gets."""

    def execute(self, item: str, context: Any) -> str:
        """Work on an item."""
        with trace.get_tracer(__name__).start_as_current_span("inside"):
            self.logger.info("Working")
        if item == "later" and context.attempt == 1:
            raise TryLater
        return item


def get(
    service: VService, path: str, task: Any = Pages, method: str = "GET", **headers: str
) -> int:
    port = service.requireTask(task).bound_addrs[0][1]
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.read()
    return answer.status


def test_request_is_a_server_span(collector: Collector) -> None:
    with running(
        service_of(Pages, VERSION="1.2"), *HTTP, "--otel-endpoint", collector.endpoint
    ) as s:
        assert get(s, "/pages/fine?password=1") == 200
    span = collector.span("GET /pages/([a-z]+)")
    assert (span.kind, span.parent, span.status) == (SERVER, b"", 0)
    assert span.attributes["http.response.status_code"] == 200
    assert span.attributes["http.route"] == "/pages/([a-z]+)"
    assert span.attributes["url.path"] == "/pages/fine"
    assert span.attributes["client.address"] == span.attributes["server.address"] == "127.0.0.1"
    assert span.attributes["server.port"] > 0
    assert span.resource["service.name"] == "Service"
    assert span.resource["service.version"] == "1.2"


class BegunInSpan(Pages):
    """Begins to serve within a span."""

    def start(self) -> None:
        with trace.get_tracer(__name__).start_as_current_span("start"):
            super().start()


def test_request_is_no_part_of_its_servers_start(collector: Collector) -> None:
    argv = (*HTTP, "--otel-endpoint", collector.endpoint)
    with running(service_of(BegunInSpan), *argv) as service:
        assert get(service, "/pages/fine", BegunInSpan) == 200
    assert collector.span("start").parent == b""
    assert collector.span("GET /pages/([a-z]+)").parent == b""


def test_trace_of_the_client_goes_on(collector: Collector) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with running(service_of(Pages), *HTTP, "--otel-endpoint", collector.endpoint) as service:
        get(service, "/pages/fine", traceparent=f"00-{trace_id}-{span_id}-01")
    span = collector.span("GET /pages/([a-z]+)")
    assert (span.trace.hex(), span.parent.hex()) == (trace_id, span_id)


def test_error_is_recorded_without_secrets(collector: Collector) -> None:
    class WithSecret(Pages):
        OPT_PREFIX = "page"
        password = option(type=str, secret=True)

    argv = ("--page-host", "127.0.0.1", "--page-port", "0", "--page-password", "hunter22")
    with running(service_of(WithSecret), *argv, "--otel-endpoint", collector.endpoint) as service:
        assert get(service, "/pages/fails", WithSecret) == 500
    span = collector.span("GET /pages/([a-z]+)")
    assert span.status == ERROR
    assert span.attributes["error.type"] == "ValueError"
    told = span.events["exception"]
    assert told["exception.message"] == "secret is ********"
    assert "hunter22" not in told["exception.stacktrace"] + span.message


def test_item_is_child_of_request_that_submitted_it(collector: Collector) -> None:
    with running(service_of(Pages, Work), *HTTP, "--otel-endpoint", collector.endpoint) as service:
        get(service, "/pages/submits")
    page, item, inside = map(collector.span, ("GET /pages/([a-z]+)", "Work", "inside"))
    assert item.kind == CONSUMER
    assert (item.trace, item.parent) == (page.trace, page.id)
    assert (inside.trace, inside.parent) == (page.trace, item.id)


def test_item_tried_later_is_no_error(collector: Collector) -> None:
    with running(service_of(Work), "--otel-endpoint", collector.endpoint) as service:
        service.requireTask(Work).submit("later").result(WAIT)
    collector.span("Work")
    first, second = [span for span in collector.spans if span.name == "Work"]
    assert "try later" in first.events
    assert first.status == second.status == 0
    assert second.attributes["sparts.attempt"] == 2


class Ticking(PeriodicTask):
    """Runs once."""

    INTERVAL = 3600.0

    def execute(self, context: Any = None) -> None:
        """Ask another."""
        self.service.requireTask(Asked).execute_async().result(WAIT)


class Asked(EventTask):
    """Runs when asked."""

    def execute(self, context: Any = None) -> None:
        """Do nothing."""


class Loop(AsyncQueueTask[str, str]):
    """Works in a loop."""

    async def execute(self, item: str, context: Any) -> str:
        """Wait a moment."""
        await asyncio.sleep(0)
        return item


def test_runs_commands_and_coroutines_have_spans(collector: Collector) -> None:
    tasks = (Asked, Ticking, Loop, SelectTask)
    with running(service_of(*tasks), "--otel-endpoint", collector.endpoint) as service:
        service.requireTask(Loop).submit("x").result(WAIT)
        service.requireTask(SelectTask).popen_communicate(["true", "secret"]).result(WAIT)
    ticking, asked = collector.span("Ticking"), collector.span("Asked")
    assert (asked.trace, asked.parent) == (ticking.trace, ticking.id)
    assert ticking.kind == INTERNAL
    assert collector.span("Loop").kind == CONSUMER
    command = collector.span("true")
    assert command.attributes["process.executable.name"] == "true"
    assert "secret" not in str(command.attributes)


def test_refused_call_is_a_span_without_error(collector: Collector) -> None:
    def refuse(call: Any, proceed: Any) -> Any:
        raise CallRefusedError(Reason.FORBIDDEN)

    cls = wrapped_by(refuse, Pages)
    with running(cls, *HTTP, "--otel-endpoint", collector.endpoint) as service:
        assert get(service, "/pages/fine") == 403
    span = collector.span("GET /pages/([a-z]+)")
    assert (span.status, span.attributes["error.type"]) == (0, "forbidden")


def test_log_lines_name_the_trace(collector: Collector, tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = ("--logfile", str(log), "--log-format", "json")
    with (
        bare_root(),
        running(service_of(Work), *argv, "--otel-endpoint", collector.endpoint) as service,
    ):
        service.requireTask(Work).submit("x").result(WAIT)
    span = collector.span("inside")
    found = map(json.loads, log.read_text().splitlines())
    (line,) = [each for each in found if each["message"] == "Working"]
    assert (line["trace_id"], line["span_id"]) == (span.trace.hex(), span.id.hex())


def test_framed_thrift_goes_on_in_this_process(collector: Collector) -> None:
    argv = ("--thrift-host", "127.0.0.1", "--thrift-port", "0")
    cls = service_of(EchoServer, EchoHandler)
    with running(cls, *argv, "--otel-endpoint", collector.endpoint) as service:
        port = service.requireTask(EchoServer).bound_port
        with ThriftClient.for_localhost(port, module=EchoHandler.MODULE) as echo:
            echo.text("x")
            echo.tell("x")  # whose caller does not wait: it may be gone
            assert service.requireTask(EchoHandler).was_told.wait(WAIT)
        asyncio.run(ask_asynchronously(port))
        with apache_client(service) as other:
            assert other.add(1, 2) == 3
    spans = {(span.name, span.kind): span for span in collector.spans}
    for name in ("text", "ping"):
        assert spans[name, SERVER].parent == spans[name, CLIENT].id
    assert spans["text", CLIENT].attributes["rpc.method"] == "Echo/text"
    for name in ("add", "tell"):
        assert spans[name, SERVER].parent == b""


async def ask_asynchronously(port: int) -> None:
    async with AsyncThriftClient.for_localhost(port, module=EchoHandler.MODULE) as echo:
        await echo.ping()


def test_without_an_endpoint_nothing_is_imported(tmp_path: Any) -> None:
    program = (
        "import sys\nfrom sparts.vservice import VService\n"
        "class S(VService): pass\nservice = S.from_args([])\nt = service.startBG()\n"
        "print('opentelemetry' in sys.modules, flush=True)\nt.service.shutdown()\nt.join()\n"
    )
    with ServiceProcess([sys.executable, "-c", program], cwd=tmp_path) as service:
        assert service.finish() == 0, service.output
        assert "False" in service.lines


def test_dead_collector_holds_up_neither_calls_nor_stop(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)  # accepts, and never answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        argv = ("--otel-endpoint", endpoint, "--stop-timeout", "3", "--no-otel-metrics")
        with running_task(Work, *argv) as task:
            for _ in range(6000):  # more than the SDK keeps: the rest is dropped
                task.queue.put("x")
            task.submit("x").result(WAIT)
    assert "The last telemetry was not sent" in caplog.text


def test_restart_sends_all_of_both_instances(collector: Collector) -> None:
    with running(service_of(Work), "--otel-endpoint", collector.endpoint) as service:
        service.requireTask(Work).submit("one").result(WAIT)
        service = restart(service)
        service.requireTask(Work).submit("two").result(WAIT)
    spans = [span for span in collector.spans if span.name == "Work"]
    assert len(spans) == len({span.resource["service.instance.id"] for span in spans}) == 2


def test_grpc_and_asgi_calls_are_spans(collector: Collector) -> None:
    async def home() -> dict[str, str]:
        return {}

    class Application(AsgiTask):
        def app(self) -> Any:
            made = FastAPI()
            made.get("/items/{number}")(home)
            return made

    class Calling(EventTask):
        def execute(self, context: Any = None) -> None:
            client = self.service.requireTask(GrpcClientTask)
            port = self.service.requireTask(GreeterTask).bound_addrs[0][1]
            address = f"127.0.0.1:{port}"
            stub = pb2_grpc.GreeterStub(client.channel(address))
            stub.Greet(Text(text="you"), timeout=WAIT)
            with pytest.raises(grpc.RpcError):
                stub.Greet(Text(text="code"), timeout=WAIT)
            client.loop_task.call(self.ask, client, address).result(WAIT)

        async def ask(self, client: Any, address: str) -> None:
            stub = pb2_grpc.ThreadGreeterStub(client.aio_channel(address))
            await stub.Greet(Text(text="you"), timeout=WAIT)

    argv = (
        "--grpc-host", "127.0.0.1", "--grpc-port", "0", "--asgi-host", "127.0.0.1",
        "--asgi-port", "0", "--otel-endpoint", collector.endpoint,
    )  # fmt: skip
    tasks = (GreeterTask, GrpcClientTask, Calling, Application)
    with running(service_of(*tasks), *argv) as service:
        service.requireTask(Calling).execute_async().result(WAIT)
        assert get(service, "/items/3", Application) == 200
    calling = collector.span("Calling")
    for name in ("sparts.tests.Greeter/Greet", "sparts.tests.ThreadGreeter/Greet"):
        spans = [span for span in collector.spans if span.name == name]
        assert {span.trace for span in spans} == {calling.trace}
        clients = {span.id for span in spans if span.kind == CLIENT}
        assert {span.parent for span in spans if span.kind == SERVER} == clients
    failed = [span for span in collector.spans if span.kind == CLIENT and span.status == ERROR]
    assert [span.message for span in failed] == ["NOT_FOUND"]
    item = collector.span("GET /items/{number}")
    assert item.attributes["http.route"] == "/items/{number}"
