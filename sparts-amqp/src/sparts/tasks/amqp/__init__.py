"""Queues and events on RabbitMQ, shared by many processes and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.tasks.amqp.connection import AMQPConnectionTask
from sparts.tasks.amqp.errors import RemoteError, UnconfirmedError, UnroutableError
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import AMQPQueueTask, ExecuteContext, TryLater

if TYPE_CHECKING:
    from sparts.tasks.amqp.async_queue import AsyncAMQPQueueTask

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


def __getattr__(name: str) -> Any:
    """Import what needs asyncio when it is asked for."""
    if name != "AsyncAMQPQueueTask":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sparts.tasks.amqp.async_queue import AsyncAMQPQueueTask

    return AsyncAMQPQueueTask
