"""AMQPPublisherTask and AMQPSubscriberTask: events by topic, to all subscribers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import counter, own
from sparts.generic import Item, Result
from sparts.options import Option, option
from sparts.tasks.amqp.addresses import broker_urls, needed_broker
from sparts.tasks.amqp.connection import AMQPConnectionTask
from sparts.tasks.amqp.queue import AMQPQueueTask
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.tasks.amqp.event_publisher import EventPublisher
    from sparts.tasks.amqp.topology import QueueLayout
    from sparts.vtask import TaskReference

DEFAULT_EXCHANGE = "sparts.events"


class AMQPPublisherTask(VTask):
    """Publishes events by topic: `publish` returns when the broker has confirmed the event.

    A topic is words with dots between, such as ``order.paid``.
    """

    LOOPLESS: ClassVar[bool] = True
    EXCHANGE: ClassVar[str] = DEFAULT_EXCHANGE
    """The topic exchange, the same for publishers and subscribers."""
    BROKER: ClassVar[str | None] = None
    """Where the broker is, see the option ``broker``."""
    MANDATORY: ClassVar[bool] = True
    """Whether an event that no queue takes is an error; False: it is dropped."""

    broker: Option[str] = option(
        type=broker_urls,
        default=lambda cls: cls.BROKER,
        metavar="URL",
        help="URL of the RabbitMQ that passes on the events, amqp://user:password@host/vhost",
        secret=True,
        reloadable=False,
    )
    n_published: counter = counter(help="Events that the broker has confirmed.")

    _publisher: EventPublisher | None = None

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS`` and the task that keeps the connections."""
        return (*super()._dependencies(), AMQPConnectionTask)

    def encode(self, event: Any) -> bytes:
        """Return an event as JSON; called in the thread that publishes it."""
        import msgspec

        return msgspec.json.encode(event)

    def check(self) -> None:
        """See that there is a broker; ``UsageError`` if not."""
        super().check()
        needed_broker(self)

    def initTask(self) -> None:  # noqa: N802
        """See that there is a broker; ``UsageError`` if not."""
        super().initTask()
        addresses = needed_broker(self)
        from sparts.tasks.amqp.event_publisher import EventPublisher

        link = self.service.requireTask(AMQPConnectionTask).link(addresses)
        self._publisher = EventPublisher(link, self.EXCHANGE, self.name)
        self._publisher.on_connection = self._connection_changed

    def start(self) -> None:
        """Connect."""
        super().start()
        assert self._publisher is not None  # noqa: S101 - made by `initTask`
        self._publisher.attach()
        self._connection_changed(self._publisher.link.connected)

    def stop(self) -> None:
        """Publish no more."""
        super().stop()
        if self._publisher is not None:
            self._publisher.close()

    def publish(self, topic: str, event: Any, timeout: float | None = None) -> None:
        """Publish an event; from any thread. Waits while there is no connection.

        Args:
            topic: its topic.
            event: what has happened, as `encode` takes it.
            timeout: seconds to wait for the confirmation; None: however long it takes.

        Raises:
            UnroutableError: no queue takes it, and ``MANDATORY``.
            queue.Full: it was not confirmed in time, or a queue that takes it is full.
            TaskStoppedError: the task is stopping.
        """
        assert self._publisher is not None  # noqa: S101 - made by `initTask`
        self._publisher.publish_event(topic, self.encode(event), self.MANDATORY, timeout)
        own(self, AMQPPublisherTask.n_published).increment()

    def _connection_changed(self, connected: bool) -> None:
        if self._supervisor.running:
            self.set_ready(connected)


class AMQPSubscriberTask(AMQPQueueTask[Item, Result]):
    """Calls `execute` for events of some topics: ``context.topic`` says of which.

    All that `AMQPQueueTask` says of items holds for events.
    """

    CALL_KIND: ClassVar[str] = "message"
    EXCHANGE: ClassVar[str] = DEFAULT_EXCHANGE
    """The topic exchange, the same for publishers and subscribers."""
    TOPICS: ClassVar[Sequence[str]] = ("#",)
    """Which topics: ``*`` stands for one word, ``#`` for any number of them."""
    SHARED: ClassVar[bool] = True
    """Whether all processes of this service share one queue, so that one of them gets an event;
    False: each process gets all events, as long as it is connected."""

    def initTask(self) -> None:  # noqa: N802
        """See that there is a broker; ``UsageError`` if not."""
        needed_broker(self)
        super().initTask()

    def check(self) -> None:
        """See that there is a broker; ``UsageError`` if not."""
        super().check()
        needed_broker(self)

    def layout(self) -> QueueLayout:
        """Return the queue of the service, or one of this process, bound to the topics."""
        import uuid

        from sparts.tasks.amqp.topology import Binding, QueueLayout

        name = self.QUEUE or f"{self._instance.name}.{self.name}"
        return QueueLayout(
            name if self.SHARED else f"{name}.{uuid.uuid4().hex}",
            self.max_items,
            delivery_limit=self.DELIVERY_LIMIT,
            binding=Binding(self.EXCHANGE, tuple(self.TOPICS)),
            exclusive=not self.SHARED,
            dead_name=f"{name}.dead",
        )
