"""Messages on their way to the broker, until it has confirmed each of them."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.calls import ClientCall, client_wrapper
from sparts.errors import describe
from sparts.tasks.amqp.errors import BrokenError, RejectedError, TooLargeError, UnroutableError

import amqp
from amqp import spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sparts.errors import UsageError
    from sparts.tasks.amqp.link import Link
    from sparts.tasks.amqp.wire import Channel

T = TypeVar("T")
_MUCH = 1 << 20
"""Bytes that may wait to be sent; further messages wait before they are made into bytes."""


def send_wrapped(
    kind: str, name: str, send: Callable[[Mapping[str, str]], T], item: Any = None
) -> T:
    """Send with what wraps the calls of clients around it.

    Args:
        kind: of the call, see `sparts.calls.Call`.
        name: of the queue or topic.
        send: called with the headers to send.
        item: what is sent, for the wrappers; None: several items.
    """
    wrapper = client_wrapper(is_async=False)
    if wrapper is None:
        return send({})
    about = {"system": "rabbitmq", "operation": "send"}
    call = ClientCall(None, kind, name, is_async=False, item=item, attributes=about)
    return wrapper(call, lambda: send(call.headers))  # type: ignore[no-any-return]


class Publish:
    """One message on its way.

    Args:
        exchange: to which exchange; empty: the one that knows all queues by their names.
        key: the routing key, which is a queue's name there.
        message: what is sent.
        ended: called once in the link's thread with None, or with why the message was not taken;
            in the thread that calls `Publisher.publish_now` if it cannot be sent at all.
        kept: whether it is sent again after the connection was lost.
    """

    __slots__ = ("cancelled", "ended", "exchange", "kept", "key", "message", "returned", "sent")

    def __init__(
        self,
        exchange: str,
        key: str,
        message: amqp.Message,
        ended: Callable[[Exception | None], object] = lambda _: None,
        kept: bool = True,
    ) -> None:
        self.exchange: str = exchange
        self.key: str = key
        self.message: amqp.Message = message
        self.ended: Callable[[Exception | None], object] = ended
        self.kept: bool = kept
        self.sent: bool = False
        self.returned: bool = False
        self.cancelled: bool = False


class Confirmation:
    """Waits for what becomes of some messages, with at most so many of them under way."""

    def __init__(self) -> None:
        self.failed: list[tuple[Publish, Exception]] = []
        self._changed = threading.Condition(threading.Lock())
        self._open: set[Publish] = set()
        self._wanted = 0

    def add(self, publish: Publish) -> None:
        """Wait for this message, too."""

        def ended(error: Exception | None) -> None:
            with self._changed:
                self._open.discard(publish)
                if error is not None:
                    self.failed.append((publish, error))
                if len(self._open) <= self._wanted:
                    self._changed.notify()

        publish.ended = ended
        with self._changed:
            self._open.add(publish)

    def wait(self, at_most: int = 0, timeout: float | None = None) -> bool:
        """Wait until so many are under way at most; False after ``timeout`` seconds."""
        if len(self._open) <= at_most:
            return True
        with self._changed:
            self._wanted = at_most
            return self._changed.wait_for(lambda: len(self._open) <= at_most, timeout)

    def left(self) -> list[Publish]:
        """The messages that are under way."""
        with self._changed:
            return list(self._open)


class Publisher:
    """A channel that messages are published on. A `sparts.tasks.amqp.link.Client`.

    The first group of methods may be called from any thread; the rest is the link's.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.channel: Channel | None = None
        self.refusal: UsageError | None = None
        """Why the broker will never take anything of this client."""
        self._attached = False
        self._outbox: deque[Publish] = deque()
        self._unconfirmed: dict[int, Publish] = {}
        self._tag = 0
        self._sending = threading.Lock()  # guards `sent` and `cancelled`

    # -- from any thread ---------------------------------------------------------------------------

    def attach(self) -> None:
        """Have a channel from now on."""
        if not self._attached:
            self._attached = True
            self.link.attach(self)

    def publish(self, *publishes: Publish) -> None:
        """Send messages, in this order, as soon as there is a connection."""
        self._add(publishes)
        self.link.wake()

    def publish_now(self, publish: Publish) -> None:
        """Send a message that somebody waits for, from this thread if that is possible.

        The link's thread, which would have to be woken first, sends many with fewer system calls.
        """
        self._add([publish])
        self.link.send(self)

    def _add(self, publishes: Iterable[Publish]) -> None:
        self._outbox.extend(publishes)
        if self.refusal is not None:
            self.end_unsent(self.refusal)

    def take_back(self, publish: Publish) -> bool:
        """Do not send a message; False: it was sent."""
        with self._sending:
            publish.cancelled = True
            return not publish.sent

    def end_unsent(self, error: Exception, all_kinds: bool = True) -> None:
        """End messages that were not sent with an error; of those that are kept alone or of all."""
        with self._sending:
            left = [one for one in self._outbox if not one.cancelled and (all_kinds or one.kept)]
            for one in left:
                one.cancelled = True
        for one in left:
            one.ended(error)

    # -- in the link's thread ----------------------------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """Begin on a new channel with what was not confirmed on the last."""
        channel._callbacks[spec.Basic.Ack] = self._on_ack
        channel._callbacks[spec.Basic.Nack] = self._on_nack
        channel.events["basic_return"].add(self._on_return)
        self._tag = 0
        self.prepare(channel)
        self.channel = channel

    def prepare(self, channel: Channel) -> None:
        """Declare and consume; called in the link's thread with each new channel."""

    def lost(self) -> None:
        """Keep for the next channel what was not confirmed."""
        self.channel = None
        again = [one for one in self._unconfirmed.values() if one.kept and not one.cancelled]
        gone = [one for one in self._unconfirmed.values() if not one.kept]
        self._unconfirmed.clear()
        with self._sending:  # threads may add meanwhile, at the end
            waiting = [self._outbox.popleft() for _ in range(len(self._outbox))]
            gone += [one for one in waiting if not one.kept]
            for one in again:
                one.sent = one.returned = False
            again += [one for one in waiting if one.kept]
            self._outbox.extendleft(reversed(again))
        error = BrokenError("The connection was lost before the broker had confirmed it.")
        for one in gone:
            one.ended(error)

    def refused(self, error: UsageError) -> None:
        """End everything: the broker will never take it."""
        self.refusal = error
        self.end_unsent(error)

    @property
    def busy(self) -> bool:
        """Whether there is something to send, or a confirmation to come."""
        return bool(self._outbox or self._unconfirmed)

    def send(self) -> None:
        """Send what waits, unless the broker takes nothing or much is on its way."""
        channel, outbox, wire = self.channel, self._outbox, self.link.wire
        if not outbox or channel is None or channel.connection is None or wire is None:
            return
        send, unconfirmed = channel.send_method, self._unconfirmed
        while outbox and not self.link.blocked and wire.unsent < _MUCH:
            one = outbox.popleft()
            with self._sending:
                if one.cancelled:
                    continue
                one.sent = True
            if len(one.message.body) > self.link.max_bytes:
                one.ended(TooLargeError(f"The broker takes {self.link.max_bytes} bytes at most."))
                continue
            try:
                to = (0, one.exchange, one.key, True, False)
                send(spec.Basic.Publish, "Bssbb", to, one.message)
            except (OSError, amqp.RecoverableConnectionError):
                unconfirmed[self._tag + 1] = one  # it is sent again
                raise
            except Exception as error:  # too long a key, say, which no further attempt mends
                one.ended(ValueError(f"It cannot be made a message: {describe(error)}"))
                continue
            self._tag += 1
            unconfirmed[self._tag] = one

    def _on_ack(self, tag: int, multiple: bool) -> None:
        for one in self._confirmed(tag, multiple):
            one.ended(UnroutableError(_unroutable(one)) if one.returned else None)

    def _on_nack(self, tag: int, multiple: bool) -> None:
        for one in self._confirmed(tag, multiple):
            one.ended(RejectedError("The broker has no room for it."))

    def _confirmed(self, tag: int, multiple: bool) -> list[Publish]:
        if not multiple:
            one = self._unconfirmed.pop(tag, None)
            return [] if one is None else [one]
        tags = []
        for number in self._unconfirmed:
            if number > tag:
                break
            tags.append(number)
        return [self._unconfirmed.pop(number) for number in tags]

    def _on_return(self, _: Any, exchange: str, key: str, message: amqp.Message) -> None:
        number = message.properties.get("message_id")
        for one in self._unconfirmed.values():
            same = one.exchange == exchange and one.key == key
            if same and one.message.properties.get("message_id") == number and not one.returned:
                one.returned = True
                return


def _unroutable(one: Publish) -> str:
    if one.exchange:
        return f"No queue is bound to {one.exchange!r} for {one.key!r}."
    return f"There is no queue {one.key!r}."
