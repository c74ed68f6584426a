"""Events by topic: who gets them."""

from __future__ import annotations

from typing import Any

import amqp
import pytest
from sparts.errors import UsageError
from sparts.tasks.amqp.errors import UnroutableError
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import ExecuteContext, TryLater

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, Echo, serving, working


class Shared(AMQPSubscriberTask, Echo):
    TOPICS = ["order.*", "alarm.#"]

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        self.seen.put((context.topic, item, context.attempt))  # type: ignore[attr-defined]
        if item == "twice" and context.attempt == 1:
            raise TryLater("again", after=0.1)


class Own(Shared):
    SHARED = False


def publisher(rabbit: Rabbit, exchange: str) -> Any:
    """Run a service that publishes events."""
    kind = type("Pub", (AMQPPublisherTask,), {"EXCHANGE": exchange, "__module__": __name__})
    return serving(kind, "--Pub-broker", rabbit.url)


def subscriber(task: Any, rabbit: Rabbit, exchange: str) -> Any:
    """Run a service that gets events."""
    kind = type(task.__name__, (task,), {"EXCHANGE": exchange, "__module__": __name__})
    return working(kind, rabbit.url, exchange)


def test_shared_queue_gives_each_event_to_one(rabbit: Rabbit, queue_name: str) -> None:
    with (
        subscriber(Shared, rabbit, queue_name) as one,
        subscriber(Shared, rabbit, queue_name) as other,
        publisher(rabbit, queue_name) as source,
    ):
        for number in range(20):
            source.publish("order.paid", number)
        source.publish("alarm.fire.cellar", "run")
        got: list[Any] = []
        while len(got) < 21:
            for task in (one, other):
                while not task.seen.empty():
                    got.append(task.seen.get()[1])
        assert sorted(got, key=str) == sorted([*range(20), "run"], key=str)
        with pytest.raises(UnroutableError, match=r"weather\.rain"):
            source.publish("weather.rain", 1)
        with pytest.raises(ValueError, match="cannot be made a message"):
            source.publish("x" * 256, 1)
        assert source.n_published() == 21


def test_own_queues_give_each_event_to_all(rabbit: Rabbit, queue_name: str) -> None:
    with (
        subscriber(Own, rabbit, queue_name) as one,
        subscriber(Own, rabbit, queue_name) as other,
        publisher(rabbit, queue_name) as source,
    ):
        source.publish("order.paid", "twice")
        for task in (one, other):
            assert task.seen.get(timeout=SOON) == ("order.paid", "twice", 1)
            assert task.seen.get(timeout=SOON) == ("order.paid", "twice", 2)


def test_events_need_a_broker() -> None:
    for task in (AMQPPublisherTask, AMQPSubscriberTask):
        with pytest.raises(UsageError, match="broker"), serving(task):
            pass


def test_event_with_odd_topic_holds_up_none(rabbit: Rabbit, queue_name: str) -> None:
    with subscriber(Shared, rabbit, queue_name) as task, publisher(rabbit, queue_name) as source:
        with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection:
            message = amqp.Message(b'"odd"')
            connection.channel().basic_publish(message, queue_name, b"order.\xff")
            assert task.seen.get(timeout=SOON) == ("order.?", "odd", 1)
        source.publish("order.paid", "next")
        assert task.seen.get(timeout=SOON) == ("order.paid", "next", 1)
