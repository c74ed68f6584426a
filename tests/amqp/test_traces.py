"""An item over RabbitMQ belongs to the trace of the service that submitted it."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import AMQPQueueTask
from sparts.tasks.periodic import PeriodicTask
from sparts.testing.running import running
from sparts.testing.waiting import wait_ready
from sparts.vservice import VService

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON
from tests.otel.collector import Collector

pytestmark = [pytest.mark.needs("rabbitmq-server"), pytest.mark.one_python]


PRODUCER, CONSUMER = Span.SPAN_KIND_PRODUCER, Span.SPAN_KIND_CONSUMER


def parent_of(span: Any, collector: Collector) -> Any:
    """Return the span that a span is a child of, once both services have sent theirs."""
    return next(each for each in collector.spans if each.id == span.parent)


class Remote(AMQPQueueTask):
    """Gives back items."""

    WORKERS = 0

    def execute(self, item: Any, context: Any) -> Any:
        """Give it back."""
        return item


class Starting(PeriodicTask):
    """Submits to the broker once."""

    INTERVAL = 3600.0
    RUN_AT_START = False

    def execute(self, context: Any = None) -> Any:
        """Wait for what the other service makes of it."""
        return self.service.requireTask("Remote").submit({"a": 1}).result(SOON)


def test_item_belongs_to_the_trace_of_another_service(
    rabbit: Rabbit, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Producing(VService):
        TASKS = [type("Remote", (Remote,), {"QUEUE": queue_name}), Starting]

    class Consuming(VService):
        TASKS = [type("Remote", (Remote,), {"QUEUE": queue_name, "WORKERS": 2})]

    monkeypatch.delenv("SPARTS_DISABLE_PLUGINS", raising=False)
    with Collector() as collector:
        argv = ("--Remote-broker", rabbit.url, "--otel-endpoint", collector.endpoint)
        with running(Consuming, *argv), running(Producing, *argv) as service:
            assert service.requireTask(Starting).execute_async().result(SOON) == {"a": 1}
        start, item = collector.span("Starting"), collector.span("Remote")
    sent = parent_of(item, collector)
    assert (sent.trace, sent.name, sent.kind) == (start.trace, queue_name, PRODUCER)
    assert sent.attributes["messaging.operation.type"] == "send"
    assert (item.trace, item.kind) == (start.trace, CONSUMER)
    assert item.resource["service.name"] == "Consuming"
    assert start.resource["service.name"] == "Producing"


class Events(AMQPSubscriberTask):
    """Gets events."""

    def execute(self, item: Any, context: Any) -> Any:
        """Do nothing."""


def test_event_belongs_to_the_trace_of_its_publisher(
    rabbit: Rabbit, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Subscribing(VService):
        TASKS = [type("Events", (Events,), {"EXCHANGE": queue_name})]

    class Publishing(VService):
        TASKS = [type("Pub", (AMQPPublisherTask,), {"EXCHANGE": queue_name})]

    monkeypatch.delenv("SPARTS_DISABLE_PLUGINS", raising=False)
    with Collector() as collector:
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
