"""The side of the backlog that lives in the link's thread: deliveries, and how they end."""

from __future__ import annotations

import threading
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sparts.context import ExecuteContext
from sparts.errors import describe
from sparts.tasks.amqp import messages
from sparts.tasks.amqp.errors import (
    BrokenError,
    RejectedError,
    RemoteError,
    TooLargeError,
    UnroutableError,
)
from sparts.tasks.amqp.publishing import Publish, Publisher
from sparts.tasks.amqp.topology import LONGEST_WAIT

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from sparts.errors import UsageError
    from sparts.tasks.amqp.link import Link
    from sparts.tasks.amqp.messages import Codec
    from sparts.tasks.amqp.outcomes import Outcomes
    from sparts.tasks.amqp.topology import QueueLayout
    from sparts.tasks.amqp.wire import Channel

    import amqp


Key: TypeAlias = "tuple[str, int] | int"
"""What tells deliveries apart: the id and a hash of the body, or a number; see `Delivery`."""
_REMEMBERED = 10_000
"""Of how many items that are done it is remembered that they are."""
_FULL_WAIT = 1000
"""Milliseconds until an item that must come back at once is put into a full queue again."""


class Delivery(ExecuteContext):
    """An item that the broker has delivered to this process.

    Attributes:
        message: as it came.
        key: distinguishes it from all other deliveries, and is the same when it is delivered again:
            its id and a hash of its body (a program may give one id to all), else a number.
        tag: what the broker calls it on the present channel; None: the channel is gone.
        working: whether a worker has it.
        ending: whether it is done, and only the broker has not noted it yet.
        stale: whether it was given to others before a worker had it.
        dead: why it was given up (a word and an error), or None.
    """

    __slots__ = ("dead", "ending", "key", "left", "message", "settled", "stale", "tag", "working")

    def __init__(self, message: amqp.Message, key: Key, tag: int) -> None:
        super().__init__(messages.attempt_of(message))
        self.message: amqp.Message = message
        self.key: Key = key
        self.tag: int | None = tag
        self.working: bool = False
        self.ending: bool = False
        self.settled: bool = False
        self.stale: bool = False
        self.left: int = 0
        self.dead: tuple[str, BaseException] | None = None

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the outcome, in whatever process."""
        return bool(self.message.properties.get("reply_to"))

    @property
    def headers(self) -> dict[str, Any]:
        """The headers of the message, such as ``traceparent``."""
        return messages.headers_of(self.message)

    @property
    def text_headers(self) -> dict[str, str]:
        """The headers that are strings, by lower-case name: what a wrapper of calls sees."""
        found = self.headers.items()
        return {name.lower(): value for name, value in found if isinstance(value, str)}

    @property
    def topic(self) -> str:
        """The topic of an event; the queue's name for an item."""
        came = self.message.delivery_info
        again = None if came["exchange"] else self.headers.get(messages.TOPIC)  # by ourselves
        return str(again or came["routing_key"])


class Consumer(Publisher):
    """A channel that items are delivered on. All but the constructor runs in the link's thread.

    Args:
        link: the connection.
        layout: the queues.
        prefetch: how many items may be here and not done; 0: take none.
        codec: makes bytes of outcomes.
        outcomes: who waits here for outcomes from elsewhere.
        deliver: called with each item that came.
        buried: called with each item that is given up here, and why.
        logger: where oddities are logged.
    """

    def __init__(
        self,
        link: Link,
        layout: QueueLayout,
        prefetch: int,
        codec: Codec,
        outcomes: Outcomes,
        deliver: Callable[[Delivery], object],
        buried: Callable[[Delivery, BaseException], object],
        logger: logging.Logger,
    ) -> None:
        super().__init__(link)
        self.layout = layout
        self.prefetch = prefetch
        self.codec = codec
        self.outcomes = outcomes
        self.logger = logger
        self.max_attempts: int | None = None
        self.consuming: bool = False
        self.on_change: Callable[[bool, UsageError | None], object] = lambda _, __: None
        self.n_redelivered: int = 0
        self.taking: threading.Lock = threading.Lock()  # guards `working` and `stale`
        self._deliver = deliver
        self._buried = buried
        self._held: dict[Key, Delivery] = {}
        self._done: dict[Key, None] = {}
        self._done_order: deque[Key] = deque()
        self._delays: set[str] = set()
        self._consumer_tag: str | None = None
        self._numbers = 0

    # -- the channel comes and goes ----------------------------------------------------------------

    def prepare(self, channel: Channel) -> None:
        """Declare the queues, and consume."""
        self.layout.declare(channel)
        self.outcomes.prepare(channel)
        self._delays.clear()
        if self.consuming:
            self._consume(channel)
        self.on_change(True, None)

    def _consume(self, channel: Channel) -> None:
        self.channel: Channel | None = channel  # a delivery may come before the answer
        self._consumer_tag = channel.consume(
            self.layout.name, self.prefetch, self._delivered, self._cancelled
        )

    def lost(self) -> None:
        """Forget what was delivered and not begun: the broker gives it to somebody."""
        super().lost()
        self.outcomes.lost()
        self._consumer_tag = None
        with self.taking:
            for context in list(self._held.values()):
                context.tag = None
                if not context.working and not context.ending:
                    context.stale = True
                    del self._held[context.key]
        self.on_change(False, None)

    def refused(self, error: UsageError) -> None:
        """Pass on why nothing will ever work."""
        super().refused(error)
        self.on_change(False, error)

    def _cancelled(self, _: str) -> None:
        self.logger.warning(
            "The broker has ended the deliveries from %s (was the queue deleted?); "
            "it is declared again", self.layout.name,
        )  # fmt: skip
        self.link.post(lambda: self.link.reopen(self))

    # -- deliveries --------------------------------------------------------------------------------

    def start(self) -> None:
        """Have items delivered."""
        self.consuming = bool(self.prefetch)
        if (channel := self._live) is not None and self.consuming:
            self._consume(channel)

    def stop(self) -> None:
        """Have no more items delivered."""
        self.consuming = False
        if (channel := self._live) is not None and self._consumer_tag is not None:
            channel.basic_cancel(self._consumer_tag, nowait=True)  # it may be blocked

    @property
    def _live(self) -> Channel | None:
        """The channel, unless the broker has just closed it."""
        channel = self.channel
        return None if channel is None or channel.connection is None else channel

    def _delivered(self, message: amqp.Message) -> None:
        its_id = message.properties.get("message_id") or ""
        key: Key = (its_id, hash(message.body))
        tag = message.delivery_tag
        if message.delivery_info["redelivered"]:
            if (known := self._held.get(key)) is not None and known.tag is None:
                known.tag = tag
                if known.settled:
                    self._acknowledge(known)
                return
            if key in self._done:
                self.n_redelivered += 1
                message.channel.basic_ack(tag)
                return
        if not its_id or key in self._held:
            self._numbers += 1
            key = self._numbers
        context = self._held[key] = Delivery(message, key, tag)
        if not self.consuming:
            self.give_back(context)
            return
        count, most = messages.deliveries(message), self.max_attempts
        if (self.layout.quorum and count >= self.layout.delivery_limit) or (
            most is not None and context.attempt > most
        ):
            error = RemoteError(
                "TooManyDeliveries",
                f"attempts that were begun and not finished: {context.attempt - 1}",
            )
            self.bury(context, "deliveries", error)
        else:
            self._deliver(context)

    # -- how they end ------------------------------------------------------------------------------

    def finish(self, context: Delivery, result: Any, error: BaseException | None) -> None:
        """Send the outcome to who waits for it, and keep what is dead; then acknowledge."""
        context.ending = True
        sent = []
        if context.dead is not None:
            sent.append(self._publish("", self.layout.dead, self._dead_letter(context), context))
        reply_to = context.message.properties.get("reply_to")
        if reply_to:
            outcome = messages.outcome_message(self.codec, context.message, result, error)
            sent.append(self._publish("", reply_to, outcome, context))
        if not sent:
            self._settle(context)
            return
        context.left = len(sent)
        self.publish(*sent)

    def _publish(
        self, exchange: str, key: str, message: amqp.Message, context: Delivery
    ) -> Publish:
        def ended(error: Exception | None) -> None:
            if error is not None and key == self.layout.dead:
                self.logger.error("An item could not be put into %s: %s", key, error)
                if isinstance(error, RejectedError):  # full: it comes again, not at once
                    self.link.post(lambda: self.put_back(context, _FULL_WAIT))
                    return
                self._requeue(context)
                if isinstance(error, UnroutableError):
                    self.link.post(lambda: self.link.reopen(self))
                return
            if isinstance(error, TooLargeError):  # the outcome: who waits gets this instead
                said = messages.outcome_message(self.codec, context.message, None, error)
                self.publish(self._publish(exchange, key, said, context))
                return
            context.left -= 1
            if not context.left and context.key in self._held:
                self._settle(context)

        return Publish(exchange, key, message, ended)

    def _dead_letter(self, context: Delivery) -> amqp.Message:
        assert context.dead is not None  # noqa: S101 - called for dead ones
        reason, error = context.dead
        text = describe(error)
        headers = {
            messages.REASON: reason,
            messages.ERROR: text[:4000],
            messages.FAILED_QUEUE: self.layout.name,
            messages.DIED_AT: datetime.now(UTC).isoformat(timespec="milliseconds"),
            **self._again(context),
        }
        return messages.again(context.message, **headers)

    def _again(self, context: Delivery) -> dict[str, Any]:
        """Return the headers of an item that is published once more."""
        headers: dict[str, Any] = {messages.ATTEMPT: context.attempt}
        if self.layout.binding is not None:
            headers[messages.TOPIC] = context.topic
        return headers

    def bury(self, context: Delivery, reason: str, error: BaseException) -> None:
        """Give up an item that no worker may have."""
        context.dead = (reason, error)
        self._buried(context, error)
        self.finish(context, None, error)

    def put_back(self, context: Delivery, milliseconds: int) -> None:
        """Have an item come again."""
        if context.tag is None:  # others have it by now
            self._held.pop(context.key, None)
            return
        context.ending = True
        message = messages.again(context.message, **self._again(context))
        if milliseconds > 0:
            self._put_off(context, message, milliseconds)
            return

        def ended(error: Exception | None) -> None:
            if error is None:
                self._settle(context)
            elif not isinstance(error, BrokenError):  # full
                self.link.post(lambda: self._put_off(context, message, _FULL_WAIT))
            else:
                self._held.pop(context.key, None)

        self.publish(Publish("", self.layout.name, message, ended, kept=False))

    def _put_off(self, context: Delivery, message: amqp.Message, milliseconds: int) -> None:
        milliseconds = min(milliseconds, LONGEST_WAIT)
        name = self.layout.delay_name(milliseconds)
        if context.tag is None or (channel := self._live) is None:
            self._held.pop(context.key, None)
            return
        if name not in self._delays:
            self.layout.declare_delay(channel, name)
            self._delays.add(name)
        message.properties["expiration"] = str(milliseconds)

        def ended(error: Exception | None) -> None:
            if error is None:
                self._settle(context)
            elif isinstance(error, BrokenError):
                self._held.pop(context.key, None)
            else:
                self._delays.discard(name)
                self._requeue(context)

        self.publish(Publish("", name, message, ended, kept=False))

    def give_back(self, context: Delivery) -> None:
        """Return an item that was not begun, without counting this as an attempt."""
        if context.tag is None:
            self._held.pop(context.key, None)
            return
        if self.layout.exclusive:
            self._requeue(context)
        else:
            self.put_back(context, 0)

    def reject(self) -> None:
        """Return all that is not done: the process ends."""
        for context in list(self._held.values()):
            if not context.ending:
                self._requeue(context)

    def _settle(self, context: Delivery) -> None:
        context.settled = True
        if context.tag is not None:
            self._acknowledge(context)

    def _acknowledge(self, context: Delivery) -> None:
        if (channel := self._live) is not None and context.tag is not None:
            channel.basic_ack(context.tag)
        self._held.pop(context.key, None)
        self._done[context.key] = None
        self._done_order.append(context.key)
        if len(self._done_order) > _REMEMBERED:
            self._done.pop(self._done_order.popleft(), None)

    def _requeue(self, context: Delivery) -> None:
        self._held.pop(context.key, None)
        if (channel := self._live) is not None and context.tag is not None:
            channel.basic_reject(context.tag, requeue=True)
            context.tag = None

    # -- to see ------------------------------------------------------------------------------------

    @property
    def delays(self) -> tuple[str, ...]:
        """The queues of items that wait for their next attempt, as far as they are known here."""
        return tuple(self._delays)

    @property
    def holds(self) -> int:
        """How many items are here and not acknowledged."""
        return len(self._held)
