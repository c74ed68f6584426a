"""How many messages wait at the broker."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import amqp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sparts.tasks.amqp.link import Link
    from sparts.tasks.amqp.wire import Wire

_AGE = 5.0
"""Seconds for which the depth that was measured last is good enough for a counter."""


class Depth:
    """Measures the depth of some queues together; from any thread.

    Args:
        link: the connection.
        queues: returns the names of the queues.
    """

    def __init__(self, link: Link, queues: Callable[[], Iterable[str]]) -> None:
        self._link = link
        self._queues = queues
        self._known: int | None = None
        self._known_at = -_AGE

    def measure(self) -> int:
        """Return how many messages wait now; `BrokenError` without connection."""
        if self._link.blocked and self._known is not None:
            return self._known  # the broker does not answer now
        self._known, self._known_at = self._link.call(self._ask), monotonic()
        return self._known

    def recent(self) -> int | None:
        """Return how many waited a few seconds ago, without waiting; None before it is known."""
        if monotonic() - self._known_at >= _AGE and not self._link.blocked:
            self._known_at = monotonic()
            self._link.post(self._look)
        return self._known

    def _look(self) -> None:
        if self._link.connected and self._link.wire is not None and not self._link.blocked:
            try:
                self._known = self._ask(self._link.wire)
            except amqp.AMQPError:
                self._known = None

    def _ask(self, wire: Wire) -> int:
        channel = wire.new_channel()
        try:
            return sum(
                channel.queue_declare(name, passive=True).message_count for name in self._queues()
            )
        finally:
            if channel.connection is not None:
                channel.close()
