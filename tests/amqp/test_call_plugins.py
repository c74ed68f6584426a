"""The plugins of examples/call_plugins on RabbitMQ: items, events, and calls of methods."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sparts.calls import CallRefusedError
from sparts.rpc import connect
from sparts.tasks.amqp.errors import RemoteError
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import AMQPQueueTask
from sparts.tasks.amqp.rpc import RPCAMQPTask
from sparts.testing.running import running
from sparts.testing.waiting import wait_ready
from sparts.vservice import VService

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, until
from tests.ecosystem.test_call_plugins import Geo, _installed

pytestmark = [
    pytest.mark.needs("rabbitmq-server"), pytest.mark.one_python,
    pytest.mark.usefixtures(_installed.__name__),
]  # fmt: skip


class Work(AMQPQueueTask[int, int]):
    """Gives back items."""

    def execute(self, item: int, context: Any) -> int:
        """Do it."""
        return item


class Events(AMQPSubscriberTask):
    """Gets events."""

    def execute(self, event: Any, context: Any) -> None:
        """Do nothing."""


class Shop(AMQPPublisherTask):
    """Publishes them."""


@contextlib.contextmanager
def serving(rabbit: Rabbit, name: str, *words: str) -> Iterator[VService]:
    exchange = {"EXCHANGE": name}
    tasks = [
        type("Work", (Work,), {"QUEUE": name}), type("Events", (Events,), exchange),
        type("Shop", (Shop,), exchange), Geo, RPCAMQPTask,
    ]  # fmt: skip
    cls: type[VService] = type("Service", (VService,), {"TASKS": tasks})
    brokers = [f"--{each}-broker={rabbit.url}" for each in ("Work", "Events", "Shop", "rpc-amqp")]
    with running(cls, *brokers, *words) as service:
        wait_ready(service)
        yield service


def outcome(call: Callable[[], Any]) -> str:
    try:
        return "ok" if call() else "?"
    except RemoteError as error:
        return str(error.type)
    except CallRefusedError as error:
        return str(error.reason)


def test_calls_over_a_broker_are_audited(
    rabbit: Rabbit, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "audit")
    with serving(rabbit, queue_name) as service, connect(rabbit.url, Geo) as geo:
        assert service.requireTask("Work").submit(1).result(SOON) == 1
        service.requireTask("Shop").publish("order.paid", 1)
        assert geo.distance(1, 2) == 1
        wanted = {
            "queue Work by nobody: ok",
            "message Events by nobody: ok",
            "rpc Geo.distance by nobody: ok",
        }
        until(
            lambda: wanted <= {record.getMessage().partition(",")[0] for record in caplog.records},
            "the lines",
        )


def test_calls_over_a_broker_are_refused(rabbit: Rabbit, queue_name: str) -> None:
    words = ("--rate-calls", "1", "--rate-period", "1h")
    with serving(rabbit, queue_name, *words) as service, connect(rabbit.url, Geo) as geo:
        work = service.requireTask("Work")
        assert outcome(lambda: work.submit(1).result(SOON)) == "ok"
        assert outcome(lambda: work.submit(2).result(SOON)) == "CallRefusedError"
        assert outcome(lambda: geo.distance(1, 2)) == "ok"
        assert outcome(lambda: geo.distance(1, 2)) == "too many"
    with (
        serving(rabbit, queue_name, "--calls-token", "x") as service,
        connect(rabbit.url, Geo) as geo,
    ):
        assert outcome(lambda: geo.distance(1, 2)) == "unauthenticated"
        assert outcome(lambda: service.requireTask("Work").submit(1).result(SOON)) == "ok"
