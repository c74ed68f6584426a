"""AMQPQueueTask: a queue task whose items many machines share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparts.context import ExecuteContext
from sparts.counters import CallbackCounter, own
from sparts.errors import TryLater, UsageError, describe, text_of
from sparts.generic import Item, Result
from sparts.options import Option, flag_of, option
from sparts.tasks.amqp.addresses import MEMORY, broker_addresses, broker_urls
from sparts.tasks.amqp.connection import AMQPConnectionTask
from sparts.tasks.backlogs import UniqueBacklog
from sparts.tasks.queue import QueueTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.tasks.amqp.addresses import Address
    from sparts.tasks.amqp.backlog import AMQPBacklog
    from sparts.tasks.amqp.consumer import Delivery
    from sparts.tasks.amqp.topology import QueueLayout
    from sparts.tasks.backlog import Backlog
    from sparts.vtask import TaskReference

__all__ = ["AMQPQueueTask", "ExecuteContext", "TryLater"]


class AMQPQueueTask(QueueTask[Item, Result]):
    """Calls `execute` in its worker threads for items that any process has put into a queue.

    All that `sparts.tasks.queue.QueueTask` says holds, with these differences:

    * Items are kept by RabbitMQ. Each is worked on at least once: again, by any worker, if a
      process or a connection ends before its item is done.
    * Items and results are JSON: see `encode` and `decode`. ``AMQPQueueTask[Order]`` makes orders
      of them.
    * `submit` gives a future that may end with `RemoteError`. It cannot be cancelled.
    * What is given up goes to the queue ``NAME.dead``: ``sparts amqp dead NAME`` shows it.
    * At a stop, items in work are ended, and all others stay with the broker.

    Without a broker, items are kept in the memory of the process, and a warning says so.
    """

    QUEUE: ClassVar[str] = ""
    """The queue's name at the broker, the same in all services that share it; empty: the name of
    the task."""
    BROKER: ClassVar[str | None] = None
    """Where the broker is, see the option ``broker``."""
    PREFETCH: ClassVar[int | None] = None
    """How many items may be in this process and not done; None: as many as it has workers. Each of
    them counts as begun when the process is killed."""
    PRIORITIES: ClassVar[int] = 0
    """How many priorities items have (at most 255), see `priority`; 0: none. With priorities the
    queue is a classic one, on one machine only, which does not count deliveries."""
    DELIVERY_LIMIT: ClassVar[int] = 20
    """How often an item is delivered again that was not done, as its process ended; then it is
    given up. ``MAX_ATTEMPTS`` counts these deliveries, too."""
    MAX_BYTES: ClassVar[int] = 16 * 1024 * 1024
    """How large an item may be as JSON."""

    broker: Option[str] = option(
        type=broker_urls,
        default=lambda cls: cls.BROKER,
        metavar="URL",
        help="URL of the RabbitMQ that keeps the items, amqp://user:password@host/vhost "
        "(amqps: with TLS; commas between several nodes); memory: keep them in this "
        "process",
        secret=True,
        reloadable=False,
    )
    n_redelivered: CallbackCounter = CallbackCounter(
        lambda self: getattr(getattr(self.queue, "consumer", None), "n_redelivered", None),
        help="Items delivered again that were done already and are not repeated.",
    )

    # -- to override -------------------------------------------------------------------------------

    def encode(self, item: Item) -> bytes:
        """Return an item as JSON; called in the thread that puts it in.

        The default is msgspec's, which knows dataclasses, dates, UUIDs and its own structs.
        """
        import msgspec

        return msgspec.json.encode(item)

    def decode(self, body: bytes) -> Item:
        """Return the item of a message; called in a worker.

        The default makes what the class's type parameter says, or what JSON has. A message that
        makes it raise goes to the dead queue.
        """
        return self._decoder(0).decode(body)  # type: ignore[no-any-return]

    def encode_result(self, result: Result) -> bytes:
        """Return a result as JSON; called in the connection's thread."""
        import msgspec

        return msgspec.json.encode(result)

    def decode_result(self, body: bytes) -> Result:
        """Return the result that came back for a submitted item, as `decode` does for items."""
        return self._decoder(1).decode(body)  # type: ignore[no-any-return]

    def priority(self, item: Item) -> int:
        """Return the priority of an item, with ``PRIORITIES``: a larger one is taken first.

        Called in the thread that puts it in. The default is 0.
        """
        return 0

    # -- the life of the task ----------------------------------------------------------------------

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS`` and the task that keeps the connections."""
        return (*super()._dependencies(), AMQPConnectionTask)

    def initTask(self) -> None:  # noqa: N802
        """Check how the class is set up; ``UsageError`` if wrongly."""
        if issubclass(self.backlog_class, UniqueBacklog):
            raise UsageError(
                f"{self.name} cannot have unique items: no process knows all items at the broker."
            )
        if not 0 <= self.PRIORITIES <= 255:
            raise UsageError(f"{self.name}.PRIORITIES is {self.PRIORITIES}: use 0 to 255.")
        super().initTask()
        if self.broker is None:
            self.logger.warning(
                "%s keeps its items in the memory of this process: they do not survive it, and no "
                "other process gets any. Name a broker by %s, or say memory: there.",
                self.name, flag_of(type(self), "broker"),
            )  # fmt: skip
        elif self.broker != MEMORY and self.PRIORITIES:
            self.logger.warning(
                "%s has priorities, and so a classic queue: it is kept on one machine, and an item "
                "that ends its process is tried without end.", self.name,
            )  # fmt: skip

    def start(self) -> None:
        """Start the backlog and the workers."""
        super().start()
        self._connection_changed()

    def make_backlog(self) -> Backlog:
        """Return the backlog at the broker, or the one in memory if there is none."""
        addresses = broker_addresses(self.broker or MEMORY)
        return self._remote_backlog(addresses) if addresses else super().make_backlog()

    def layout(self) -> QueueLayout:
        """Return which queues there are at the broker; called once."""
        from sparts.tasks.amqp.topology import QueueLayout

        return QueueLayout(
            self.QUEUE or self.name, self.max_items, self.PRIORITIES, self.DELIVERY_LIMIT
        )

    def _backlog_class(self) -> type[AMQPBacklog]:
        from sparts.tasks.amqp.backlog import AMQPBacklog

        return AMQPBacklog

    def _remote_backlog(self, addresses: tuple[Address, ...]) -> AMQPBacklog:
        from sparts.tasks.amqp.messages import Codec

        codec = Codec(
            self.encode, self.decode, self.encode_result, self.decode_result, self.MAX_BYTES
        )
        link = self.service.requireTask(AMQPConnectionTask).link(addresses)
        prefetch = self.workers if self.PREFETCH is None or not self.workers else self.PREFETCH
        backlog = self._backlog_class()(
            self.name, link, self.layout(), codec, self._supervisor.threads, prefetch, self.logger,
            self.priority, self._buried_unseen,
        )  # fmt: skip
        backlog.consumer.max_attempts = self.max_attempts
        backlog.on_connection = self._connection_changed
        return backlog

    def _connection_changed(self, connected: bool | None = None) -> None:
        link = getattr(self.queue, "link", None)
        if link is not None and self._supervisor.running:
            self.set_ready(link.connected if connected is None else connected)

    def _buried_unseen(self, context: Delivery, error: BaseException) -> None:
        """Note that an item was given up without a worker; called in the connection's thread."""
        own(self, AMQPQueueTask.n_dead_letters).increment()
        self.logger.error(
            "Gave up %.200s: %s", text_of(context.message.body, repr), describe(error)
        )

    def _decoder(self, position: int) -> Any:
        decoders = self.__dict__.setdefault("_decoders", {})
        if (decoder := decoders.get(position)) is None:
            from sparts.tasks.amqp.types import decoder_for

            decoder = decoders[position] = decoder_for(type(self), position)
        return decoder
