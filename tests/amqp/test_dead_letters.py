"""What is given up: where it goes, and `sparts amqp dead`."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

import amqp
import pytest
from amqp import serialization
from sparts.errors import StartError, UsageError
from sparts.tasks.amqp.consumer import Delivery
from sparts.tasks.amqp.dead import _all_of, main
from sparts.tasks.amqp.errors import RemoteError, TooLargeError
from sparts.tasks.amqp.queue import ExecuteContext

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, Echo, Gated, until, working


class Picky(Echo):
    ON_ERROR = "log"
    MAX_BYTES = 1000

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        super().execute(item, context)
        if item == "bad":
            raise LookupError("no such\nperson")
        return item


class _Written(bytes):
    """A value of a header as it is on the wire."""


_write = serialization._write_item


def _written(kind: bytes, value: bytes) -> bytes:
    return _Written(kind + value)


def nested(levels: int) -> bytes:
    value = b"V"
    for _ in range(levels):
        value = b"A" + struct.pack(">I", len(value)) + value
    return _Written(value)


@pytest.fixture(autouse=True)
def written_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have py-amqp send what it cannot read itself."""

    def write(value: Any, out: Callable[[bytes], None], bits: Any) -> None:
        if isinstance(value, _Written):
            out(value)
        else:
            _write(value, out, bits)

    monkeypatch.setattr(serialization, "_write_item", write)


@pytest.fixture
def broker(rabbit: Rabbit, monkeypatch: pytest.MonkeyPatch) -> Rabbit:
    """Give the broker that the command uses."""
    monkeypatch.setenv("SPARTS_AMQP_BROKER", rabbit.url)
    return rabbit


def test_dead_items_are_listed_shown_requeued_and_dropped(
    broker: Rabbit, queue_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def dead(*words: str) -> str:
        assert main(["dead", queue_name, *words]) == 0
        return capsys.readouterr().out

    with working(Picky, broker.url, queue_name) as task:
        assert task.submit("good").result(SOON) == "good"
        for _ in range(3):
            assert task.submit("bad").exception(SOON) is not None
        until(lambda: len(dead().splitlines()) == 4, "three dead items")
        listed = dead().splitlines()
        assert "LookupError: no such\\nperson" in listed[0]
        assert '"bad"' in listed[0]
        ids = [line.split()[0] for line in listed[:3]]
        assert "x-sparts-reason: error" in dead("--show", ids[1])
        every = json.loads(dead("--json"))
        assert [each["id"] for each in every] == ids
        assert every[0] | {"died": ""} == {
            "id": ids[0],
            "died": "",
            "attempt": 1,
            "reason": "error",
            "error": "LookupError: no such\nperson",
            "headers": every[0]["headers"],
            "item": "bad",
        }
        (shown,) = json.loads(dead("--json", "--show", ids[2]))
        assert shown["id"] == ids[2]
        assert "1 item dropped" in dead("--drop", ids[0])
        assert [line.split()[0] for line in dead().splitlines()[:-1]] == ids[1:]
        while not task.seen.empty():
            task.seen.get()
        assert "1 item requeued" in dead("--requeue", ids[1])
        assert task.seen.get(timeout=SOON) == ("bad", 1)
    assert {each["id"] for each in json.loads(dead("--drop", "all", "--json"))} == {*ids[1:]}
    assert dead() == f"0 items in {queue_name}.dead\n"
    for choice in ("--show", "--requeue", "--drop"):
        with pytest.raises(UsageError, match=f"no item nothing in {queue_name}.dead"):
            main(["dead", queue_name, choice, "nothing"])


def test_wrong_queue_and_absent_broker_are_errors(
    broker: Rabbit, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no queue nothing"):
        main(["dead", "nothing"])
    with pytest.raises(UsageError, match="without .dead"):
        main(["dead", "nothing.dead"])
    with pytest.raises(UsageError, match="URL must be"):
        main(["dead", "nothing", "--broker", "http://x"])
    with pytest.raises(StartError, match="No connection"):
        main(["dead", "nothing", "--broker", "amqp://127.0.0.1:1/"])


@pytest.mark.parametrize(
    ("body", "properties", "reason"),
    [
        (b"not json", {}, "JSON"),
        (b"", {"content_encoding": "nonsense"}, "truncated"),
        (b'"x"', {"content_type": "application/x-pickle"}, "application/x-pickle"),
        (b'"x"', {"type": "sparts.item/9"}, "sparts.item/9"),
        (b'"x"', {"correlation_id": b"\xff"}, "cannot be read"),
        (b'"x"', {"application_headers": {"t": _written(b"T", b"\x7f" * 8)}}, "cannot be read"),
        (b'"x"', {"application_headers": {"t": nested(5_000)}}, "cannot be read"),
        (json.dumps("x" * 2000).encode(), {}, "2002 bytes"),
    ],
    ids=["body", "empty", "content type", "version", "bytes", "year", "nested", "size"],
)
def test_foreign_messages_go_to_the_dead_queue(
    broker: Rabbit,
    queue_name: str,
    capsys: pytest.CaptureFixture[str],
    body: bytes,
    properties: dict[str, Any],
    reason: str,
) -> None:
    with working(Picky, broker.url, queue_name) as task:
        publish(broker, queue_name, body, **properties)
        publish(broker, queue_name, b'"plain"')
        assert task.seen.get(timeout=SOON) == ("plain", 1)
        until(lambda: task.n_dead_letters() == 1, "the dead letter")
    main(["dead", queue_name])
    shown = capsys.readouterr().out
    assert reason in shown
    assert "undecodable" in shown


def test_hostile_headers_neither_lose_nor_repeat_items(
    broker: Rabbit, queue_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile: list[dict[Any, Any]] = [
        {b"\xff": 1},
        {"CC": [queue_name], "BCC": [queue_name]},
        {"x-sparts-attempt": 2**63 - 1, "x-sparts-queue": "amq.topic"},
        {"x-delivery-count": 1000},
        {"x-death": "none", "t": nested(450)},
        {"t": {b"\xff": {b"\xff": 1}}},
        {"x": "y" * 131_000, "traceparent": 5},
    ]
    with working(Picky, broker.url, queue_name) as task:
        for headers in hostile:
            publish(broker, queue_name, b'"bad"', application_headers=headers)
        until(lambda: task.n_dead_letters() == len(hostile), "the dead letters")
        publish(broker, queue_name, b'"plain"')
        seen = [task.seen.get(timeout=SOON) for _ in range(len(hostile) + 1)]
        assert seen == [("bad", 1)] * len(hostile) + [("plain", 1)]
        assert task.queue.link.n_losses == 0
        hostile[0]["z"] = hostile.pop(1)  # the broker would put it into the queue, too
        for headers in hostile:
            publish(broker, f"{queue_name}.dead", b'"bad"', application_headers=headers)
        for words in ((), ("--json",), ("--show", "#8")):
            assert main(["dead", queue_name, *words]) == 0
        capsys.readouterr()
        assert main(["dead", queue_name, "--requeue", "all"]) == 0
        assert "13 items requeued" in capsys.readouterr().out
        assert [task.seen.get(timeout=SOON)[0] for _ in range(13)] == ["bad"] * 13


def test_full_dead_queue_slows_items_down(broker: Rabbit, queue_name: str) -> None:
    words = (f"^{queue_name}[.]dead$", '{"max-length": 1}', "--apply-to", "queues")
    broker.control("set_policy", queue_name, *words)
    with working(Picky, broker.url, queue_name) as task:
        for _ in range(4):
            publish(broker, queue_name, b'"bad"')
        until(lambda: task.queue.consumer.delays, "an item that is put off")


class Verbose(Echo):
    def execute(self, item: Any, context: ExecuteContext) -> Any:
        return item if len(item) < 10 else item * 10_000


def test_too_large_messages_do_not_end_the_connection(broker: Rabbit, queue_name: str) -> None:
    allow = "application:set_env(rabbit, max_message_size, {})."
    broker.evaluate(allow.format(65536))
    try:
        with working(Verbose, broker.url, queue_name) as task:
            futures = [task.submit(item) for item in ("before", "much too long", "after")]
            assert futures[0].result(SOON) == "before"
            with pytest.raises(RemoteError, match="TooLargeError: .* 65536 bytes"):
                futures[1].result(SOON)
            assert futures[2].result(SOON) == "after"
            with pytest.raises(TooLargeError):
                task.queue.put("x" * 100_000, timeout=SOON)
            assert task.queue.link.n_losses == 0
    finally:
        broker.evaluate(allow.format(128 * 1024 * 1024))


class Waiting(Gated):
    PREFETCH = 5


def test_messages_of_one_id_are_all_done(broker: Rabbit, queue_name: str) -> None:
    with working(Waiting, broker.url, queue_name) as task:
        consumer, link = task.queue.consumer, task.queue.link
        task.gate.set()
        publish(broker, queue_name, b'"first"', message_id="1")
        until(lambda: task.n_completed() == 1 and not consumer.holds, "the first")
        task.gate.clear()
        publish(broker, queue_name, b'"busy"', message_id="2")
        publish(broker, queue_name, b'"second"', message_id="1")
        until(lambda: consumer.holds == 2, "the others")
        link.post(lambda: link.reopen(consumer))  # so that the second is delivered again
        link.post(task.gate.set)
        assert [task.seen.get(timeout=SOON)[0] for _ in range(3)] == ["first", "busy", "second"]


def test_wrappers_see_headers_that_are_text() -> None:
    headers = {"Authorization": "x", "n": 5, b"\xff": "y", "x-sparts-topic": "forged"}
    message = amqp.Message(b"1", application_headers=headers)
    message.delivery_info = {"exchange": "events", "routing_key": "order.paid"}
    delivery = Delivery(message, 1, 1)
    assert delivery.text_headers == {"authorization": "x", "x-sparts-topic": "forged"}
    assert delivery.topic == "order.paid"


def publish(rabbit: Rabbit, queue: str, body: bytes, **properties: Any) -> None:
    """Publish as another program would."""
    with amqp.Connection(f"127.0.0.1:{rabbit.port}", confirm_publish=True) as connection:
        connection.channel().basic_publish(amqp.Message(body, **properties), "", queue)


@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_deeply_nested_item_can_be_shown(depth: int) -> None:
    body = "[" * depth + "]" * depth
    found = _all_of("1", amqp.Message(body.encode()))
    assert found["item"] == body or isinstance(found["item"], list)  # 5,000 are few since 3.13
    json.dumps([found], indent=2)
