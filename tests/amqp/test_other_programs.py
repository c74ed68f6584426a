"""Programs that know the format of messages alone take part, on either side of a queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import amqp
import pytest
from sparts.rpc import RPCTask, rpc
from sparts.tasks.amqp.rpc import RPCAMQPTask
from sparts.testing.running import running, service_of

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, Echo, Producer, working

pytestmark = [pytest.mark.needs("rabbitmq-server"), pytest.mark.one_python]


class Adding(RPCTask):
    """Adds."""

    @rpc
    def add(self, a: int, b: int) -> int:
        """Return the sum."""
        return a + b


class Program:
    """A client of RabbitMQ, and nothing more."""

    def __init__(self, channel: amqp.Channel) -> None:
        self.channel = channel
        self.answers: list[tuple[Any, str]] = []

    def listen(self, queue: str = "") -> str:
        """Listen for answers, and return where."""
        if not queue:
            queue = self.channel.queue_declare("", exclusive=True).queue
        self.channel.basic_consume(queue, callback=self._came, no_ack=True)
        return queue

    def _came(self, message: amqp.Message) -> None:
        number = message.properties.get("correlation_id", "")
        self.answers.append((json.loads(message.body), number))

    def publish(self, queue: str, item: Any, **properties: Any) -> None:
        """Publish an item."""
        message = amqp.Message(json.dumps(item), **properties)
        self.channel.basic_publish(message, "", queue)

    def ask(self, queue: str, item: Any, **properties: Any) -> tuple[Any, str]:
        """Publish an item, and wait for the answer."""
        self.publish(queue, item, **properties)
        while not self.answers:
            self.channel.connection.drain_events(timeout=SOON)
        return self.answers.pop()


@pytest.fixture
def program(rabbit: Rabbit) -> Iterator[Program]:
    with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection:
        yield Program(connection.channel())


def test_other_program_gets_outcomes(rabbit: Rabbit, queue_name: str, program: Program) -> None:
    own, direct = program.listen(), program.listen("amq.rabbitmq.reply-to")
    with working(Echo, rabbit.url, queue_name):
        for properties, number in (
            ({"correlation_id": "7"}, "7"),
            ({"correlation_id": "7", "message_id": "m"}, "7"),
            ({"message_id": "m2"}, "m2"),
            ({"content_type": "application/json; charset=utf-8", "content_encoding": "utf-8"}, ""),
        ):
            for reply_to in (own, direct):
                answer = program.ask(queue_name, "ä", reply_to=reply_to, **properties)
                assert answer == ({"result": "ä"}, number)


def test_other_program_calls_methods(rabbit: Rabbit, program: Program) -> None:
    with running(service_of(Adding, RPCAMQPTask), "--rpc-amqp-broker", rabbit.url):
        call = {"method": "add", "arguments": {"a": 1, "b": 2}, "timeout": SOON}
        answer = program.ask("rpc.Adding", call, reply_to=program.listen(), correlation_id="7")
        assert answer == ({"result": {"value": 3}}, "7")


def test_other_program_works_on_items(rabbit: Rabbit, queue_name: str, program: Program) -> None:
    with working(Producer, rabbit.url, queue_name) as producer:
        good, bad = producer.submit({"number": 20}), producer.submit({"number": 0})
        for outcome in ({"result": 5}, {"error": {"type": "ZeroDivisionError", "message": "no"}}):
            while (message := program.channel.basic_get(queue_name)) is None:
                pass
            program.publish(
                message.properties["reply_to"], outcome,
                correlation_id=message.properties["message_id"],
            )  # fmt: skip
            program.channel.basic_ack(message.delivery_tag)
        assert good.result(SOON) == 5
        assert "ZeroDivisionError: no" in str(bad.exception(SOON))
