"""AMQPConnectionTask: the connections of a service to its brokers, one for each."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from sparts.counters import CallbackCounter
from sparts.vtask import VTask

if TYPE_CHECKING:
    from sparts.tasks.amqp.addresses import Address
    from sparts.tasks.amqp.link import Link
    from sparts.vservice import VService

_GOODBYE = 5.0
"""Seconds in which what was done must reach the broker at the stop."""


class AMQPConnectionTask(VTask):
    """Keeps one connection and one thread for each broker, shared by all tasks of the service.

    Tasks that need it are started after it and stopped before it. A connection that is lost is
    made again, after 0.1 s at first and at most 10 s, with a random share; queues are declared
    again, and what was not confirmed is published again. Meanwhile the tasks are not ready.
    """

    OPT_PREFIX: ClassVar[str | None] = "amqp"
    LOOPLESS: ClassVar[bool] = True

    connections: CallbackCounter = CallbackCounter(
        lambda self: sum(link.connected for link in self.links), help="Open connections to brokers."
    )
    blocked: CallbackCounter = CallbackCounter(
        lambda self: sum(link.blocked for link in self.links),
        help="Connections whose broker accepts no messages, because its memory or disk runs out.",
    )
    n_connects: CallbackCounter = CallbackCounter(
        lambda self: sum(link.n_connects for link in self.links), help="Connections made."
    )
    n_losses: CallbackCounter = CallbackCounter(
        lambda self: sum(link.n_losses for link in self.links), help="Connections lost."
    )

    def __init__(self, service: VService) -> None:
        super().__init__(service)
        self._links: dict[tuple[Address, ...], Link] = {}
        self._making = threading.Lock()

    @property
    def links(self) -> list[Link]:
        """The connections, one for each broker."""
        return list(self._links.values())

    def link(self, addresses: tuple[Address, ...]) -> Link:
        """Return the connection to a broker; it is made at its first use."""
        from sparts.tasks.amqp.link import Link  # here, as a service without a broker needs it not

        with self._making:
            if (link := self._links.get(addresses)) is None:
                name = f"{self._instance.name}.{self.name}"
                link = self._links[addresses] = Link(addresses, name, self.logger)
        return link

    def join(self) -> None:
        """Send what is still to be sent, and close the connections."""
        super().join()
        self._close()

    def _abandoned(self) -> None:
        """Close the connections at once."""
        self._close(0.2)

    def _left_out(self) -> None:
        """Close the connections: the task will not run."""
        super()._left_out()
        self._close(0.2)

    def _close(self, most: float = _GOODBYE) -> None:
        for link in self.links:
            link.close(max(0.1, min(most, self.seconds_to_stop() - 0.2)))
