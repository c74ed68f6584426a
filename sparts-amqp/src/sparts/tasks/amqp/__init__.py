"""Queues and events on RabbitMQ, shared by many processes and machines."""

from sparts.tasks.amqp.connection import AMQPConnectionTask
from sparts.tasks.amqp.errors import RemoteError, UnconfirmedError, UnroutableError
from sparts.tasks.amqp.events import AMQPPublisherTask, AMQPSubscriberTask
from sparts.tasks.amqp.queue import AMQPQueueTask, AsyncAMQPQueueTask, ExecuteContext, TryLater

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
