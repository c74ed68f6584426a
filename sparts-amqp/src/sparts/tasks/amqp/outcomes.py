"""Outcomes that come back to who submitted an item, by a queue of this process alone."""

from __future__ import annotations

import uuid
from concurrent.futures import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.tasks.amqp.errors import RemoteError
from sparts.tasks.amqp.messages import settle
from sparts.tasks.amqp.topology import declare

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from sparts.context import ExecuteContext
    from sparts.tasks.amqp.wire import Channel

    import amqp

EXPIRES = 600.0
"""Seconds after which the broker deletes the queue of a process that has gone."""


class Outcomes:
    """Who waits for which outcome. `wait_for` and `forget` are for any thread.

    Args:
        queue: the queue of the items.
        decode: makes a result of bytes.
        logger: where failures of callbacks are logged.
    """

    def __init__(self, queue: str, decode: Callable[[bytes], Any], logger: logging.Logger) -> None:
        self.queue: str = f"{queue}.outcomes.{uuid.uuid4().hex}"
        self.wanted: bool = False
        self._decode = decode
        self._logger = logger
        self._waiting: dict[str, ExecuteContext] = {}
        self._channel: Channel | None = None
        self._lost_at: float | None = None

    def wait_for(self, number: str, context: ExecuteContext) -> None:
        """Note that somebody waits for the outcome of a message."""
        self._waiting[number] = context

    def forget(self, number: str) -> None:
        """Note that nobody waits any more."""
        self._waiting.pop(number, None)

    def end_all(self, error: BaseException) -> None:
        """End all that wait."""
        while self._waiting:
            self._tell(self._waiting.popitem()[1].set_exception, error)

    # -- in the link's thread ----------------------------------------------------------------------

    def prepare(self, channel: Channel) -> None:
        """Have outcomes sent to us on a new channel."""
        if self._lost_at is not None and monotonic() - self._lost_at > EXPIRES:
            self.end_all(
                RemoteError("OutcomeLost", f"the broker was away for more than {EXPIRES:g} s")
            )
        self._lost_at = None
        self._channel = channel
        if not self.wanted:
            return
        declare(channel, self.queue, {"x-expires": int(EXPIRES * 1000)})
        channel.consume(self.queue, 0, self._came)

    def ask(self) -> None:
        """Have outcomes sent to us from now on."""
        if not self.wanted:
            self.wanted = True
            if self._channel is not None:
                self.prepare(self._channel)

    def lost(self) -> None:
        """Note that the channel is gone."""
        self._channel = None
        self._lost_at = monotonic()

    def end(self) -> None:
        """Delete the queue, and end who waits: the process takes no more outcomes."""
        if self._channel is not None and self.wanted:
            self._channel.queue_delete(self.queue, nowait=True)
        self.wanted = False
        self.end_all(
            CancelledError("The task has stopped before the outcome came. The item is kept.")
        )

    def _came(self, message: amqp.Message) -> None:
        assert self._channel is not None  # noqa: S101 - called by it
        self._channel.basic_ack(message.delivery_tag)
        context = self._waiting.pop(message.properties.get("correlation_id", ""), None)
        if context is not None:
            self._tell(settle, context, message.body, self._decode)

    def _tell(self, method: Callable[..., Any], *args: Any) -> None:
        try:
            method(*args)
        except Exception:
            self._logger.exception("Who waits for an outcome has failed")
