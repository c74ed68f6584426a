"""AsyncAMQPQueueTask: coroutines that process items which many machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.generic import Item, Result
from sparts.tasks.amqp.queue import AMQPQueueTask, ExecuteContext, TryLater
from sparts.tasks.async_queue import AsyncQueueTask

if TYPE_CHECKING:
    from sparts.tasks.amqp.backlog import AMQPBacklog

__all__ = ["AsyncAMQPQueueTask", "ExecuteContext", "TryLater"]


class AsyncAMQPQueueTask(AMQPQueueTask[Item, Result], AsyncQueueTask[Item, Result]):
    """Awaits `execute` for items that any process has put into a queue.

    It is to `AMQPQueueTask` what `sparts.tasks.async_queue.AsyncQueueTask` is to `QueueTask`. What
    is put in from its loop never waits for room or for a connection, but raises ``queue.Full``.
    """

    def _backlog_class(self) -> type[AMQPBacklog]:
        from sparts.tasks.amqp.async_backlog import AsyncAMQPBacklog

        return AsyncAMQPBacklog
