"""Queues and events on RabbitMQ, shared by many processes and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.startup import imported_later
from sparts.tasks.amqp.connection import AMQPConnectionTask
from sparts.tasks.amqp.errors import RemoteError, UnconfirmedError, UnroutableError
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import AMQPQueueTask, ExecuteContext, TryLater

if TYPE_CHECKING:
    from sparts.tasks.amqp.async_queue import AsyncAMQPQueueTask
else:  # what needs asyncio
    _home = "sparts.tasks.amqp.async_queue"
    __getattr__ = imported_later(__name__, {_home: ("AsyncAMQPQueueTask",)})

__all__ = [
    "AMQPConnectionTask",
    "AMQPPublisherTask",
    "AMQPQueueTask",
    "AMQPSubscriberTask",
    "AsyncAMQPQueueTask",
    "ExecuteContext",
    "RemoteError",
    "TryLater",
    "UnconfirmedError",
    "UnroutableError",
]
