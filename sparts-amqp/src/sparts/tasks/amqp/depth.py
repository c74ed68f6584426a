"""How many messages wait at the broker."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

import amqp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sparts.tasks.amqp.link import Link
    from sparts.tasks.amqp.wire import Wire

_AGE = 5.0
"""Seconds for which the depth that was measured last is good enough for a counter."""
_PATIENCE = 0.05
"""Seconds that a counter waits for the broker, which answers in 0.001 or so."""


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
        """Return how many wait, as was known at most a few seconds ago; None: it is not known.

        If the broker is slow, this returns what was known before.
        """
        link = self._link
        if link.connected and monotonic() - self._known_at >= _AGE and not link.blocked:
            self._known_at, looked = monotonic(), threading.Event()
            link.post(lambda: self._look(looked))
            if threading.get_native_id() != link.thread_id:
                looked.wait(_PATIENCE)
        return self._known

    def _look(self, looked: threading.Event) -> None:
        if self._link.connected and self._link.wire is not None and not self._link.blocked:
            try:
                self._known = self._ask(self._link.wire)
            except amqp.AMQPError:
                self._known = None
        looked.set()

    def _ask(self, wire: Wire) -> int:
        channel = wire.new_channel()
        try:
            return sum(
                channel.queue_declare(name, passive=True).message_count for name in self._queues()
            )
        finally:
            if channel.connection is not None:
                channel.close()
