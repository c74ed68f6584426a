"""Which queues there are at the broker for one queue of items, and how they are declared.

``NAME`` has the items, ``NAME.dead`` those that were given up, and ``NAME.after.2048`` those that
wait up to 2,048 ms for their next attempt; the broker moves them back when their time is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError

if TYPE_CHECKING:
    from sparts.tasks.amqp.wire import Channel

LONGEST_WAIT = 2**32 - 1
"""Milliseconds that the broker can hold an item back: 49 days."""
LOOKS = 1_000_000
"""How often dead letters may be looked at; RabbitMQ 4 would drop them after 20 looks."""
_LONGEST_NAME, _LONGEST_QUEUE = 255, 200
"""Bytes of a name in the protocol, and of a queue's name that more is put behind."""
_STEPS = 4
"""Delay queues for each doubling of the time."""


@dataclass(frozen=True)
class Binding:
    """A topic exchange whose events come into a queue, and which of them."""

    exchange: str
    topics: tuple[str, ...]


@dataclass(frozen=True)
class QueueLayout:
    """The queues of one name.

    Attributes:
        name: the name.
        max_items: how many items may wait; 0: any number.
        priorities: how many priorities items have; 0: none. Others than 0 make it a classic queue.
        delivery_limit: how often the broker delivers an item again that was not acknowledged.
        binding: the events that come into it, if any.
        exclusive: whether it lives and ends with the connection; for the events of one process.
        dead_name: the queue of what was given up; empty: ``NAME.dead``.
        drops: whether the broker drops what has expired or was delivered too often, and does not
            put it into the queue of what was given up.
    """

    name: str
    max_items: int = 0
    priorities: int = 0
    delivery_limit: int = 20
    binding: Binding | None = None
    exclusive: bool = False
    dead_name: str = ""
    drops: bool = False

    def __post_init__(self) -> None:
        """See that no name is too long for the protocol; ``UsageError`` if one is."""
        names = [(self.name, _LONGEST_QUEUE)]
        if (bound := self.binding) is not None:
            names += [(each, _LONGEST_NAME) for each in (bound.exchange, *bound.topics)]
        for name, most in names:
            if len(name.encode()) > most:
                raise UsageError(f"{name[:40]!r}... is too long a name: use {most} bytes at most.")

    @property
    def dead(self) -> str:
        """The name of the queue of what was given up."""
        return self.dead_name or f"{self.name}.dead"

    @property
    def quorum(self) -> bool:
        """Whether it is a quorum queue, which is replicated and counts deliveries."""
        return not (self.priorities or self.exclusive)

    def declare(self, channel: Channel) -> None:
        """Declare the queue, and that of what was given up."""
        kept = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
        declare(channel, self.dead, {**kept, "x-delivery-limit": LOOKS})
        arguments: dict[str, Any] = {}
        if not self.drops:
            arguments["x-dead-letter-exchange"] = ""
            arguments["x-dead-letter-routing-key"] = self.dead
        if self.max_items:
            arguments["x-max-length"] = self.max_items
        arguments["x-overflow"] = "reject-publish"
        if self.quorum:
            arguments |= {"x-queue-type": "quorum", "x-delivery-limit": self.delivery_limit}
            if not self.drops:
                arguments["x-dead-letter-strategy"] = "at-least-once"
        elif self.priorities:
            arguments["x-max-priority"] = self.priorities
        declare(channel, self.name, arguments, self.exclusive)
        if self.binding is not None:
            channel.exchange_declare(
                self.binding.exchange, "topic", durable=True, auto_delete=False
            )
            for topic in self.binding.topics:
                channel.queue_bind(self.name, self.binding.exchange, topic)

    def delay_name(self, milliseconds: int) -> str:
        """The name of the queue for items that wait so long."""
        step = max(0, ceil(log2(max(1, milliseconds)) * _STEPS))
        return f"{self.name}.after.{ceil(2 ** (step / _STEPS))}"

    def declare_delay(self, channel: Channel, name: str) -> None:
        """Declare a queue for items that wait."""
        arguments: dict[str, Any] = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self.name,
        }
        if not self.exclusive:
            arguments |= {
                "x-queue-type": "quorum",
                "x-overflow": "reject-publish",
                "x-dead-letter-strategy": "at-least-once",
            }
        declare(channel, name, arguments, self.exclusive)


def declare(
    channel: Channel, name: str, arguments: dict[str, Any], exclusive: bool = False
) -> None:
    """Declare one queue that is there to stay (or as long as the connection)."""
    channel.queue_declare(
        name,
        durable=not exclusive,
        exclusive=exclusive,
        auto_delete=False,
        arguments=arguments,
    )
