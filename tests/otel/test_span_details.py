"""What spans hold of what clients and the service's own code say."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from sparts.options import option
from sparts.rpc import RPCTask, connect, rpc
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.asgi.rpc import RPCHTTPTask
from sparts.tasks.grpc.rpc import RPCGrpcTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT

from tests.asgi.applications import task_of
from tests.grpc.greeters import GreeterTask, Text, pb2_grpc
from tests.otel.collector import Collector
from tests.otel.test_traces import CLIENT, ERROR, HTTP, SERVER, Pages, get

PAGE = "GET /pages/([a-z]+)"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@trace.get_tracer(__name__).start_as_current_span("decorated")
def decorated() -> None:
    """Be a span."""


class Careless(QueueTask[str, str]):
    """Shows its secret in spans of its own."""

    OPT_PREFIX = "careless"
    ON_ERROR = "log"
    password = option(type=str, secret=True)

    def execute(self, item: str, context: Any) -> str:
        """Fail."""
        decorated()
        with trace.get_tracer(__name__).start_as_current_span(f"for {self.password}") as span:
            span.set_attribute("key", [self.password, "other"])
            span.add_event("event", {"text": f"it is {self.password}"})
            self.logger.warning("half of a pair: \ud800")
            raise ValueError(f"{self.password} \ud800")


def test_own_spans_hold_no_secrets_and_are_sent(collector: Collector) -> None:
    argv = ("--careless-password", "hunter22", "--otel-endpoint", collector.endpoint, "--otel-logs")
    with running(service_of(Careless), *argv) as service, pytest.raises(ValueError, match="hun"):
        service.requireTask(Careless).submit("x").result(WAIT)
    span = collector.span("for ********")
    assert (span.message, span.status) == ("ValueError: ******** \\ud800", ERROR)
    assert span.events["event"]["text"] == "it is ********"
    assert span.events["exception"]["exception.message"] == "******** \\ud800"
    lines = [line.body.string_value for line in collector.logs]
    assert "half of a pair: \\ud800" in lines
    shown = [(each.name, each.attributes, each.events, each.message) for each in collector.spans]
    assert "hunter22" not in str(shown) + str(collector.logs)
    assert collector.span("decorated").parent == collector.span("Careless").id


def test_long_path_and_agent_are_cut(collector: Collector) -> None:
    argv = ("--careless-password", "hunter22", "--otel-endpoint", collector.endpoint)
    path = f"/{'x' * 1019}hunter22{'y' * 9000}"
    with running(service_of(Pages, Careless), *HTTP, *argv) as service:
        assert get(service, path, **{"User-Agent": "z" * 9000}) == 404
    span = collector.span("GET")
    assert span.attributes["url.path"] == f"/{'x' * 1019}****"
    assert span.attributes["user_agent.original"] == "z" * 1024


@pytest.mark.parametrize(
    "header",
    [
        "", "nonsense", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01", f"00-{TRACE.upper()}-{PARENT}-01", f"00-{TRACE}-{PARENT}",
        "x" * 5000, "\xff",
    ],
)  # fmt: skip
def test_malformed_header_begins_a_new_trace(
    collector: Collector, caplog: pytest.LogCaptureFixture, header: str
) -> None:
    with running(service_of(Pages), *HTTP, "--otel-endpoint", collector.endpoint) as service:
        more = {"tracestate": "=,,\xff", "baggage": "nonsense;" * 2000}
        assert get(service, "/pages/fine", traceparent=header, **more) == 200
    span = collector.span(PAGE)
    assert (span.parent, span.trace.hex() != TRACE) == (b"", True)
    assert not [record for record in caplog.records if "nonsense" in record.getMessage()]


def test_request_that_is_not_sampled_is_no_span(collector: Collector) -> None:
    with running(service_of(Pages), *HTTP, "--otel-endpoint", collector.endpoint) as service:
        get(service, "/pages/fine", traceparent=f"00-{TRACE}-{PARENT}-00")
        get(service, "/pages/last")
    assert len(collector.spans) == 1


def test_unknown_method_is_in_no_name(collector: Collector) -> None:
    with running(service_of(Pages), *HTTP, "--otel-endpoint", collector.endpoint) as service:
        assert get(service, "/pages/pot", method="BREW") == 405
    span = collector.span("HTTP /pages/([a-z]+)")
    assert span.attributes["http.request.method"] == "_OTHER"
    assert span.attributes["http.request.method_original"] == "BREW"


@pytest.mark.parametrize("stub", ["GreeterStub", "ThreadGreeterStub"])
def test_grpc_span_has_the_status_of_its_call(collector: Collector, stub: str) -> None:
    argv = ("--grpc-host", "127.0.0.1", "--grpc-port", "0")
    texts = ("you", "code", "abort", "fail")
    with running(service_of(GreeterTask), *argv, "--otel-endpoint", collector.endpoint) as service:
        port = service.requireTask(GreeterTask).bound_addrs[0][1]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            greet = getattr(pb2_grpc, stub)(channel).Greet
            for text in texts:
                with contextlib.suppress(grpc.RpcError):
                    greet(Text(text=text), timeout=WAIT)
    code = "rpc.response.status_code"
    assert [
        (each.attributes[code], each.attributes.get("error.type"), each.status)
        for each in collector.spans
    ] == [
        ("OK", None, 0), ("NOT_FOUND", "NOT_FOUND", 0),
        ("FAILED_PRECONDITION", "FAILED_PRECONDITION", 0), ("UNKNOWN", "RuntimeError", ERROR),
    ]  # fmt: skip
    (method,) = {each.attributes["rpc.method"] for each in collector.spans}
    assert method == f"sparts.tests.{stub.removesuffix('Stub')}/Greet"
    assert {each.attributes["rpc.system.name"] for each in collector.spans} == {"grpc"}


@pytest.mark.parametrize("stub", ["GreeterStub", "ThreadGreeterStub"])
def test_call_that_its_client_cancels_is_no_error(collector: Collector, stub: str) -> None:
    argv = ("--grpc-host", "127.0.0.1", "--grpc-port", "0")
    left = threading.Event()

    def requests() -> Iterator[Any]:
        yield Text(text="you")
        left.wait(WAIT)

    with running(service_of(GreeterTask), *argv, "--otel-endpoint", collector.endpoint) as service:
        port = service.requireTask(GreeterTask).bound_addrs[0][1]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            answers = getattr(pb2_grpc, stub)(channel).Echo(requests())
            next(answers)
            answers.cancel()
            left.set()
    span = collector.span(f"sparts.tests.{stub.removesuffix('Stub')}/Echo")
    assert span.attributes["rpc.response.status_code"] == "CANCELLED"
    assert span.status != ERROR


@pytest.mark.parametrize("second", ["", f"00-{TRACE}-{PARENT}-01"])
def test_second_traceparent_begins_a_new_trace(collector: Collector, second: str) -> None:
    """Which of them were right could not be known, so a proxy's could be overruled."""
    argv = ("--asgi-host", "127.0.0.1", "--asgi-port", "0")
    with running(
        service_of(task_of(AsgiTask)), *argv, "--otel-endpoint", collector.endpoint
    ) as service:
        port = service.requireTask(AsgiTask).bound_addrs[0][1]
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as connection:
            connection.putrequest("GET", "/")
            for each in (f"00-{TRACE}-{PARENT}-01", second):
                if each:
                    connection.putheader("traceparent", each)
            connection.endheaders()
            connection.getresponse().read()
    (span,) = collector.spans
    assert (span.trace.hex() == TRACE) is not bool(second)


class Geo(RPCTask):
    """Measures."""

    @rpc
    def distance(self, a: int, b: int) -> int:
        """Return how far it is."""
        return abs(a - b)


@pytest.mark.parametrize(
    ("task", "scheme", "request_name"),
    [(RPCHTTPTask, "http", "POST"), (RPCGrpcTask, "grpc", "Geo/distance"),
     (RPCThriftTask, "thrift", "")],
)  # fmt: skip
def test_rpc_call_is_child_of_what_brought_it(
    collector: Collector, task: Any, scheme: str, request_name: str
) -> None:
    argv = (f"--rpc-{scheme}-host", "127.0.0.1", f"--rpc-{scheme}-port", "0")
    cls = service_of(Geo, task)
    with running(cls, *argv, "--otel-endpoint", collector.endpoint) as service:
        port = service.requireTask(task).bound_addrs[0][1]
        with connect(f"{scheme}://127.0.0.1:{port}", Geo) as geo:
            assert geo.distance(1, 3) == 2
    spans = {(span.name, span.kind): span for span in collector.spans}
    client, call = spans["Geo.distance", CLIENT], spans["Geo.distance", SERVER]
    if request_name:
        request = spans[request_name, SERVER]
        assert (request.trace, request.parent) == (client.trace, client.id)
        assert (call.trace, call.parent) == (client.trace, request.id)
    else:
        assert (call.trace, call.parent) == (client.trace, client.id)


def test_client_span_is_its_services_alone(collector: Collector) -> None:
    otel = ("--otel-endpoint", collector.endpoint)
    cls = service_of(Pages, TornadoHTTPClientTask)
    with running(cls, *HTTP, *otel) as service, running(service_of(TornadoHTTPClientTask), *otel):
        port = service.requireTask(Pages).bound_addrs[0][1]
        client = service.requireTask(TornadoHTTPClientTask)
        answer = client.submit(f"http://127.0.0.1:{port}/nowhere", raise_error=False).result(WAIT)
        assert answer.code == 404
    (span,) = [span for span in collector.spans if span.kind == CLIENT]
    assert span.resource["service.name"] == "Service"
    assert (span.status, span.attributes["error.type"]) == (ERROR, "404")
