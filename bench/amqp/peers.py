"""celery, dramatiq and bare py-amqp, each of whose publishes the broker confirms."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import amqp
from amqp import spec


class Bare:
    """py-amqp on a quorum queue, with confirmations that are waited for at the end."""

    def __init__(self, port: int) -> None:
        self._connection = amqp.Connection(f"127.0.0.1:{port}")
        self._connection.negotiate_capabilities = {"connection.blocked": False}
        self._connection.connect()
        channel = self._channel = self._connection.channel()
        channel.confirm_select()
        channel.queue_declare(
            "bare", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )
        channel._callbacks[spec.Basic.Ack] = self._acked
        self._confirmed = self._sent = 0

    def _acked(self, tag: int, multiple: bool) -> None:
        self._confirmed = max(self._confirmed, tag)

    def put_many(self, number: int) -> float:
        """Give the seconds of so many messages."""
        began = time.perf_counter()
        for item in range(number):
            message = amqp.Message(
                str(item).encode(),
                delivery_mode=2,
                content_type="application/json",
                message_id=f"{item}",
            )
            self._channel.basic_publish(message, "", "bare", mandatory=True)
        self._sent += number
        while self._confirmed < self._sent:
            self._connection.drain_events()
        return time.perf_counter() - began

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


class Single:
    """py-amqp on a quorum queue, which waits for the confirmation of each message."""

    def __init__(self, port: int) -> None:
        self._connection = amqp.Connection(f"127.0.0.1:{port}", confirm_publish=True)
        self._connection.connect()
        self._channel = self._connection.channel()
        self._channel.queue_declare(
            "single", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
        )

    def put(self, item: int) -> None:
        """Send a message, and wait for the broker."""
        message = amqp.Message(str(item).encode(), delivery_mode=2)
        self._channel.basic_publish_confirm(message, "", "single", mandatory=True)

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._connection.close()


def celery_put(port: int) -> Any:
    """Return a function that puts one item into a queue of celery."""
    from celery import Celery

    app = Celery(broker=f"amqp://guest:guest@127.0.0.1:{port}//")
    app.conf.update(
        broker_transport_options={"confirm_publish": True},
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        task_default_queue_type="quorum",
        task_default_exchange_type="topic",
    )

    def nothing(item: int) -> None:
        """Do nothing."""

    return app.task(nothing, name="nothing").delay


def dramatiq_put(port: int) -> Any:
    """Return a function that puts one item into a queue of dramatiq."""
    import dramatiq
    from dramatiq.brokers.rabbitmq import RabbitmqBroker

    class Broker(RabbitmqBroker):
        """Has quorum queues, as the others have."""

        def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
            arguments = super()._build_queue_arguments(queue_name)  # type: ignore[no-untyped-call]
            return {**arguments, "x-queue-type": "quorum"}

    broker: Any = Broker(url=f"amqp://guest:guest@127.0.0.1:{port}/%2F", confirm_delivery=True)
    dramatiq.set_broker(broker)

    @dramatiq.actor(broker=broker)
    def nothing(item: int) -> None:
        """Do nothing."""

    return nothing.send
