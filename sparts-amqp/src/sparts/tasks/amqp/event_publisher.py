"""The channel of an `AMQPPublisherTask`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from queue import Full
from typing import TYPE_CHECKING

from sparts.errors import TaskStoppedError
from sparts.tasks.amqp import messages
from sparts.tasks.amqp.errors import UnconfirmedError, UnroutableError
from sparts.tasks.amqp.publishing import Confirmation, Publish, Publisher, send_wrapped

if TYPE_CHECKING:
    from sparts.errors import UsageError
    from sparts.tasks.amqp.link import Link
    from sparts.tasks.amqp.wire import Channel


class EventPublisher(Publisher):
    """Publishes events to one topic exchange.

    Args:
        link: the connection.
        exchange: the exchange's name.
        name: the task's, for errors.
    """

    def __init__(self, link: Link, exchange: str, name: str) -> None:
        super().__init__(link)
        self.exchange = exchange
        self.name = name
        self.on_connection: Callable[[bool], object] = lambda _: None
        self._closed = threading.Event()

    def publish_event(
        self, topic: str, body: bytes, mandatory: bool, timeout: float | None
    ) -> None:
        """Publish an event and wait for its confirmation; see `AMQPPublisherTask.publish`."""
        if self._closed.is_set():
            raise self._closed_error()
        send_wrapped(
            "message", topic, lambda headers: self._send(topic, body, headers, mandatory, timeout)
        )

    def _send(
        self,
        topic: str,
        body: bytes,
        headers: Mapping[str, str],
        mandatory: bool,
        timeout: float | None,
    ) -> None:
        publish = Publish(self.exchange, topic, messages.item_message(body, headers))
        confirmation = Confirmation()
        confirmation.add(publish)
        self.attach()
        self.publish_now(publish)
        if self._closed.is_set():
            self.end_unsent(self._closed_error())
        if not confirmation.wait(0, timeout):
            if self.take_back(publish):
                raise Full(f"{self.name}: there was no connection in time.")
            raise UnconfirmedError(f"{self.name}: the broker did not confirm the event in time.")
        for _, error in confirmation.failed:
            if mandatory or not isinstance(error, UnroutableError):
                raise error

    def close(self) -> None:
        """Publish no more."""
        self._closed.set()
        self.end_unsent(self._closed_error())

    def _closed_error(self) -> TaskStoppedError:
        return TaskStoppedError(f"{self.name} is stopping and publishes no more.")

    # -- in the link's thread ----------------------------------------------------------------------

    def prepare(self, channel: Channel) -> None:
        """Declare the exchange."""
        channel.exchange_declare(self.exchange, "topic", durable=True, auto_delete=False)
        self.on_connection(True)

    def lost(self) -> None:
        """Keep for the next channel what was not confirmed."""
        super().lost()
        self.on_connection(False)

    def refused(self, error: UsageError) -> None:
        """End everything: the broker will never take it."""
        super().refused(error)
        self.on_connection(False)
