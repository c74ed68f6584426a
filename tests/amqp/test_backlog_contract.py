"""The backlog on RabbitMQ keeps the contract of all backlogs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import msgspec
import pytest
from sparts.tasks.amqp.addresses import broker_addresses
from sparts.tasks.amqp.async_backlog import AsyncAMQPBacklog
from sparts.tasks.amqp.backlog import AMQPBacklog
from sparts.tasks.amqp.link import Link
from sparts.tasks.amqp.messages import Codec
from sparts.tasks.amqp.topology import QueueLayout
from sparts.tasks.backlog import Backlog
from sparts.testing.async_backlogs import AsyncBacklogContract
from sparts.testing.backlogs import BacklogContract

from tests.amqp.rabbit import Rabbit

JSON = msgspec.json
CODEC = Codec(JSON.encode, JSON.decode, JSON.encode, JSON.decode, 1 << 24)
LOGGER = logging.getLogger("backlog")


class OnRabbit(BacklogContract):
    BOUNDED = False
    JOINS = False
    EXACTLY_ONCE = False

    @pytest.fixture(autouse=True)
    def _broker(self, rabbit: Rabbit, queue_name: str) -> Iterator[None]:
        self.link = Link(broker_addresses(rabbit.url), "contract", LOGGER)
        self.names = iter(f"{queue_name}.{n}" for n in range(100))
        yield
        self.link.close(5)

    def ended(self, backlog: Backlog) -> None:
        assert isinstance(backlog, AMQPBacklog)

    def drain(self, backlog: Backlog, threads: list[threading.Thread]) -> None:
        """Wait until nothing waits at the broker either, and close the backlog."""
        assert isinstance(backlog, AMQPBacklog)
        while backlog.qsize() or backlog.consumer.holds:
            threading.Event().wait(0.01)
        super().drain(backlog, threads)


class TestThreads(OnRabbit):
    def make(self, maxsize: int = 0) -> Backlog:
        layout = QueueLayout(next(self.names), maxsize)
        return AMQPBacklog("Task", self.link, layout, CODEC, [], 4, LOGGER)


class TestCoroutines(OnRabbit, AsyncBacklogContract):
    def make(self, maxsize: int = 0) -> Backlog:
        layout = QueueLayout(next(self.names), maxsize)
        return AsyncAMQPBacklog("Task", self.link, layout, CODEC, [], 4, LOGGER)
