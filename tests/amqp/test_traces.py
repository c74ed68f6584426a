"""A request is one trace, also over RabbitMQ to another service."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import AMQPQueueTask
from sparts.tasks.dbus import DBusClientTask, dbus_method
from sparts.tasks.queue import QueueTask
from sparts.tasks.thrift import NBServerTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.client import TornadoHTTPClientTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.testing.running import running
from sparts.testing.waiting import wait_ready
from sparts.thrift.client import ThriftClient
from sparts.vservice import VService
from tornado.web import RequestHandler

from tests.amqp.crew import crew_of
from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON
from tests.dbus.conftest import session_bus as session_bus
from tests.dbus.daemons import Daemon
from tests.dbus.services import NAME, PATH, Greeter
from tests.otel.collector import Collector
from tests.otel.conftest import _let_in as _let_in
from tests.otel.conftest import collector as collector
from tests.otel.test_traces import CLIENT, CONSUMER, SERVER
from tests.thrift.echo import EchoHandler

pytestmark = [pytest.mark.needs("rabbitmq-server"), pytest.mark.one_python]

PRODUCER = 4


def parent_of(span: Any, collector: Collector) -> Any:
    """Return the span that a span is a child of, once both services have sent theirs."""
    return next(each for each in collector.spans if each.id == span.parent)


class Remote(AMQPQueueTask):
    """Gives items to the worker of another process."""

    WORKERS = 0
    DELIVERY_LIMIT = 100  # as it has

    def execute(self, item: Any, context: Any) -> Any:
        """Do nothing: there is no worker here."""


class Calling(Greeter):
    """Has another service greet."""

    @dbus_method
    def Greet(self, name: str) -> str:  # noqa: N802
        """Submit to the broker, and wait."""
        return str(self.service.requireTask("Remote").submit(name).result(SOON))


class Passing(EchoHandler):
    """Hands a call on to D-Bus."""

    def text(self, text: str) -> str:
        """Call a method of this service."""
        greeter = self.service.requireTask(DBusClientTask).proxy(NAME, PATH, NAME)
        return str(greeter.call("Greet", text, signature="s"))


class PassingOverHTTP(ThriftHTTPTask):
    """Takes thrift over HTTP."""

    OPT_PREFIX = "thrift_http"
    DEPS = (Passing,)


class Chain(QueueTask[str, str]):
    """Asks by thrift, framed and over HTTP, and for a page."""

    def execute(self, item: str, context: Any) -> str:
        """Ask this service both ways."""
        module = Passing.MODULE
        web = self.service.requireTask(PassingOverHTTP).bound_addrs[0][1]
        with ThriftClient.for_hostport("127.0.0.1", web, module=module, path="/thrift") as echo:
            found: str = echo.text(item)
        port = self.service.requireTask(NBServerTask).bound_port
        with ThriftClient.for_localhost(port, module=module) as echo:
            found += echo.text(item)
        pages = self.service.requireTask(Pages).bound_addrs[0][1]
        client = self.service.requireTask(TornadoHTTPClientTask)
        client.submit(f"http://127.0.0.1:{pages}/page", raise_error=False).result(SOON)
        return found


class Start(RequestHandler):
    """Begins it all."""

    async def get(self) -> None:
        """Have the queue do it."""
        service: Any = self.application.task.service  # type: ignore[attr-defined]
        self.write(await asyncio.wrap_future(service.requireTask(Chain).submit("hello")))


class Pages(TornadoHTTPTask):
    """Serves the page that begins it, and one that is not allowed."""

    def getApplicationConfig(self) -> list[Any]:  # noqa: N802
        """Return the route."""
        return [("/start", Start), ("/page", RequestHandler)]


@pytest.mark.needs("dbus")
def test_one_request_is_one_trace_over_two_services(
    rabbit: Rabbit, queue_name: str, session_bus: Daemon, collector: Collector, tmp_path: Path
) -> None:
    """HTTP, queue, thrift both ways, D-Bus, and AMQP to a service of another process."""

    class Producing(VService):
        TASKS = [
            Pages, Chain, NBServerTask, PassingOverHTTP, Calling, DBusClientTask,
            TornadoHTTPClientTask,
            type("Remote", (Remote,), {"QUEUE": queue_name}),
        ]  # fmt: skip

    otel = ("--otel-endpoint", collector.endpoint)
    argv = [
        *(f"--{name}-host=127.0.0.1" for name in ("http", "thrift", "thrift-http")),
        *(f"--{name}-port=0" for name in ("http", "thrift", "thrift-http")),
        *(f"--{name}-address={session_bus.address}" for name in ("dbus", "dbus-client")),
        "--Remote-broker", rabbit.url, *otel,
    ]  # fmt: skip
    with crew_of(tmp_path, rabbit.url, queue_name) as crew:
        crew.hire(1, *otel)
        with running(Producing, *argv) as service:
            wait_ready(service)
            port = service.requireTask(Pages).bound_addrs[0][1]
            with urlopen(f"http://127.0.0.1:{port}/start", timeout=SOON) as answer:
                assert answer.read() == b"hellohello"
        assert crew.end_one(signal.SIGTERM).wait(SOON) == 0, crew.log()
    roots = [span for span in collector.spans if span.parent == b""]
    assert [span.name for span in roots] == ["GET /start"]
    assert {span.trace for span in collector.spans} == {roots[0].trace}
    by_id = {span.id: span for span in collector.spans}
    greet = f"{NAME}.Greet"
    found = sorted(path_to(span, by_id) for span in collector.spans if span.name == "Worker")
    call = [("text", CLIENT), ("text", SERVER)]
    over_http = [("text", CLIENT), ("POST /.*", SERVER), ("text", SERVER)]
    assert found == sorted(
        [
            ("GET /start", SERVER), ("Chain", CONSUMER), *way, (greet, CLIENT), (greet, SERVER),
            (queue_name, PRODUCER), ("Worker", CONSUMER),
        ] for way in (call, over_http)
    )  # fmt: skip
    (page,) = [path_to(span, by_id) for span in collector.spans if span.name == "GET /page"]
    assert page == [
        ("GET /start", SERVER), ("Chain", CONSUMER), ("GET", CLIENT), ("GET /page", SERVER),
    ]  # fmt: skip
    resources = {span.resource["service.name"] for span in collector.spans}
    assert resources == {"Producing", "Service"}


def path_to(span: Any, by_id: dict[bytes, Any]) -> list[tuple[str, int]]:
    """Return the names and kinds of spans from the root to one."""
    before = path_to(by_id[span.parent], by_id) if span.parent else []
    return [*before, (span.name, span.kind)]


class Events(AMQPSubscriberTask):
    """Gets events."""

    def execute(self, item: Any, context: Any) -> Any:
        """Do nothing."""


def test_event_belongs_to_the_trace_of_its_publisher(
    rabbit: Rabbit, queue_name: str, collector: Collector
) -> None:
    class Subscribing(VService):
        TASKS = [type("Events", (Events,), {"EXCHANGE": queue_name})]

    class Publishing(VService):
        TASKS = [type("Pub", (AMQPPublisherTask,), {"EXCHANGE": queue_name})]

    otel = ("--otel-endpoint", collector.endpoint)
    with (
        running(Subscribing, "--Events-broker", rabbit.url, *otel) as service,
        running(Publishing, "--Pub-broker", rabbit.url, *otel) as publishing,
    ):
        wait_ready(service)
        publishing.requireTask("Pub").publish("order.paid", 1)
        event = collector.span("Events")
    sent = parent_of(event, collector)
    assert (sent.name, sent.kind, event.kind) == ("order.paid", PRODUCER, CONSUMER)
    assert event.attributes["sparts.kind"] == "message"
