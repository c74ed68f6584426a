"""An item over RabbitMQ belongs to the trace of the service that submitted it."""

from __future__ import annotations

from typing import Any

import pytest
from sparts.tasks.amqp.queue import AMQPQueueTask
from sparts.tasks.periodic import PeriodicTask
from sparts.testing.running import running
from sparts.vservice import VService

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON
from tests.otel.collector import Collector

pytestmark = [pytest.mark.needs("rabbitmq-server"), pytest.mark.one_python]


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
    assert (item.trace, item.parent) == (start.trace, start.id)
    assert item.resource["service.name"] == "Consuming"
    assert start.resource["service.name"] == "Producing"
