"""AMQPQueueTask: the way of an item, on a broker."""

from __future__ import annotations

import asyncio
import datetime
import queue
from dataclasses import dataclass
from typing import Any

import pytest
from sparts.errors import TaskStoppedError, UsageError
from sparts.tasks.amqp import depth
from sparts.tasks.amqp.errors import RemoteError
from sparts.tasks.amqp.queue import AMQPQueueTask, ExecuteContext, TryLater
from sparts.tasks.backlog import RefusedError
from sparts.tasks.backlogs import UniqueBacklog

from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, AsyncEcho, Echo, Gated, Producer, serving, until, working


class Failing(Echo):
    ON_ERROR = "log"

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        super().execute(item, context)
        raise LookupError(f"no {item}")


class Patient(Echo):
    MAX_ATTEMPTS = 3

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        super().execute(item, context)
        if item == "never" or context.attempt == 1:
            raise TryLater("not yet", after=0.3)
        return context.attempt


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_items_cross_processes_and_results_return(
    rabbit: Rabbit, queue_name: str, kind: type[AMQPQueueTask]
) -> None:
    with (
        working(kind, rabbit.url, queue_name) as worker,
        working(Producer, rabbit.url, queue_name) as producer,
    ):
        producer.queue.put({"to": "a"})
        assert worker.seen.get(timeout=SOON) == ({"to": "a"}, 1)
        producer.put_many(range(3))
        assert sorted(worker.seen.get(timeout=SOON)[0] for _ in range(3)) == [0, 1, 2]
        assert producer.submit("x").result(SOON) == "x"
        assert producer.map(range(50), timeout=SOON) == list(range(50))
        steps: list[tuple[int, int | None]] = []
        progress = lambda done, total: steps.append((done, total))  # noqa: E731 - short
        assert list(producer.imap("ab", SOON, progress=progress)) == ["a", "b"]
        assert steps == [(1, 2), (2, 2)]

        async def wait() -> Any:
            return await producer.submit("y")

        assert asyncio.run(wait()) == "y"


def test_failure_elsewhere_reaches_the_submitter(rabbit: Rabbit, queue_name: str) -> None:
    with (
        working(Failing, rabbit.url, queue_name),
        working(Producer, rabbit.url, queue_name) as producer,
    ):
        error = producer.submit("bread").exception(SOON)
        assert isinstance(error, RemoteError)
        assert (error.type, error.text) == ("LookupError", "no bread")


class Odd(Echo):
    ON_ERROR = "log"

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        if item == "fails":
            raise ValueError("half of a pair: \ud800")
        return item

    def decode(self, body: bytes) -> Any:
        if body == b'"leaves"':
            raise SystemExit(3)
        return super().decode(body)

    def decode_result(self, body: bytes) -> Any:
        raise TypeError("not mine")

    def encode_result(self, result: Any) -> bytes:
        if result == "exits":
            raise SystemExit(3)
        return super().encode_result(result)


def test_odd_outcomes_end_futures_and_no_connection(rabbit: Rabbit, queue_name: str) -> None:
    wanted = {
        "fails": "ValueError: half of a pair: \\ud800",
        "exits": "SystemExit: 3",
        "leaves": "SystemExit: 3",
        "ends": "UndecodableOutcome: TypeError: not mine",
    }
    with working(Odd, rabbit.url, queue_name) as task:
        for item, text in [*wanted.items()] * 2:
            assert str(task.submit(item).exception(SOON)) == text
        assert task.service.requireTask("AMQPConnectionTask").n_losses() == 0


@dataclass
class Order:
    number: int
    due: datetime.date


class Typed(AMQPQueueTask[Order, Order]):
    WORKERS = 1

    def execute(self, item: Order, context: ExecuteContext) -> Order:
        assert isinstance(item, Order)
        return Order(item.number + 1, item.due)


def test_typed_items_and_results_are_decoded(rabbit: Rabbit, queue_name: str) -> None:
    with working(Typed, rabbit.url, queue_name) as task:
        today = datetime.date(2026, 11, 27)
        assert task.submit(Order(1, today)).result(SOON) == Order(2, today)


def test_item_put_off_comes_again_without_worker(rabbit: Rabbit, queue_name: str) -> None:
    with working(Patient, rabbit.url, queue_name, "--Patient-workers", "1") as task:
        later = task.submit("later")
        assert task.seen.get(timeout=SOON) == ("later", 1)
        other = task.submit("other")
        assert task.seen.get(timeout=SOON) == ("other", 1)
        assert (later.result(SOON), other.result(SOON)) == (2, 2)


def test_too_many_attempts_end_in_the_dead_queue(rabbit: Rabbit, queue_name: str) -> None:
    with working(Patient, rabbit.url, queue_name) as task:
        error = task.submit("never").exception(SOON)
        assert isinstance(error, RemoteError)
        assert error.type == "TryLater"
        assert [task.seen.get(timeout=SOON)[1] for _ in range(3)] == [1, 2, 3]
    assert rabbit.depth(f"{queue_name}.dead") == 1


def put_on(task: Any, item: Any, times: int) -> None:
    """Put an item in so often, and do not wait for room."""
    for _ in range(times):
        task.queue.put_nowait(item)


def test_stop_returns_what_has_not_begun(rabbit: Rabbit, queue_name: str) -> None:
    with working(Gated, rabbit.url, queue_name) as task:
        task.put_many(range(5))
        assert task.seen.get(timeout=SOON) == (0, 1)
        task.service.shutdown()
        until(task.stop_event.is_set, "the stop")
        with pytest.raises(TaskStoppedError):
            put_on(task, "late", 1000)
        task.gate.set()
    assert task.n_dropped() == 0
    assert task.n_completed() == 1
    with working(Echo, rabbit.url, queue_name) as echo:
        left = {echo.seen.get(timeout=SOON) for _ in range(4)}
        assert {(item, 1) for item in range(1, 5)} <= left | {("late", 1)}


def test_item_in_work_at_the_deadline_is_returned(rabbit: Rabbit, queue_name: str) -> None:
    class Hasty(Gated):
        STOP_TIMEOUT = 4.0

    with working(Hasty, rabbit.url, queue_name) as task:
        task.queue.put("slow")
        assert task.seen.get(timeout=SOON) == ("slow", 1)
        task.service.shutdown()
        until(lambda: task.n_returned() == 1, "the item to be given up")
        task.gate.set()
    assert task.n_returned() == 1
    with working(Echo, rabbit.url, queue_name) as echo:
        assert echo.seen.get(timeout=SOON) == ("slow", 2)


def test_full_queue_refuses_more_items(rabbit: Rabbit, queue_name: str) -> None:
    with working(Producer, rabbit.url, queue_name, "--Producer-max-items", "3") as task:
        with pytest.raises(queue.Full):
            put_on(task, "x", 10)
        with pytest.raises(queue.Full):
            task.queue.put("x", timeout=0.1)
        with pytest.raises(queue.Full):
            task.put_many(range(3), timeout=0.1)
        with working(Echo, rabbit.url, queue_name, "--Echo-max-items", "3"):
            task.queue.put("x", timeout=SOON)


def test_item_that_makes_no_message_is_an_error(rabbit: Rabbit, queue_name: str) -> None:
    class Urgent(Producer):
        PRIORITIES = 3

        def priority(self, item: Any) -> int:
            return 1000

    with working(Urgent, rabbit.url, queue_name) as task:
        for put in (task.queue.put, task.submit, lambda item: task.put_many([item])):
            with pytest.raises(ValueError, match="cannot be made a message"):
                put("x")
        assert task.queue.link.n_losses == 0


def test_too_long_a_name_is_a_usage_error(rabbit: Rabbit) -> None:
    with (
        pytest.raises(UsageError, match="too long a name: use 200 bytes"),
        working(Echo, rabbit.url, "x" * 201),
    ):
        pass
    with working(Echo, rabbit.url, "x" * 200) as task:
        assert task.submit("x").result(SOON) == "x"


def test_depth_is_that_of_now_after_a_while(
    rabbit: Rabbit, queue_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth, "_AGE", 0.0)
    monkeypatch.setattr(depth, "_PATIENCE", SOON)
    with working(Producer, rabbit.url, queue_name) as task:
        assert task.queue_depth() == 0
        task.put_many(range(3))
        assert task.queue_depth() == 3


def test_queue_declared_otherwise_is_a_usage_error(rabbit: Rabbit, queue_name: str) -> None:
    with working(Producer, rabbit.url, queue_name):
        pass

    class Other(Echo):
        QUEUE = queue_name
        DELIVERY_LIMIT = 7

    with (
        pytest.raises(UsageError, match="'7'.*'20'"),
        serving(Other, "--Other-broker", rabbit.url),
    ):
        pass


@pytest.mark.parametrize("login", ["guest:wrong-one@127.0.0.1:{}", "guest:guest@127.0.0.1:{}/none"])
def test_refused_login_is_a_usage_error(rabbit: Rabbit, login: str) -> None:
    url = f"amqp://{login.format(rabbit.port)}"
    with pytest.raises(UsageError, match="refuses"), serving(Echo, "--Echo-broker", url):
        pass


@pytest.mark.parametrize(
    "rest", ["p/w@h", "pw@h:99999", "pw@h/?heartbeat=nan", "pw@h/?heartbeat=70000", "pw@h/?other=1"]
)
def test_wrong_url_is_explained_without_the_url(rest: str) -> None:
    expected = "expected memory: or URLs such as amqp://user:password@host:5672/vhost"
    with (
        pytest.raises(UsageError, match=expected) as caught,
        serving(Echo, "--Echo-broker", f"amqp://user:{rest}"),
    ):
        pass
    assert rest not in str(caught.value)


def test_join_and_unique_items_are_refused(rabbit: Rabbit, queue_name: str) -> None:
    with working(Producer, rabbit.url, queue_name) as task, pytest.raises(RefusedError):
        task.queue.join()

    class Unique(Echo):
        backlog_class = UniqueBacklog

    with pytest.raises(UsageError), serving(Unique):
        pass


def test_without_a_broker_memory_serves_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with serving(Echo) as task:
        assert task.submit("x").result(SOON) == "x"
    assert "memory of this process" in caplog.text
    caplog.clear()
    with serving(Echo, "--Echo-broker", "memory:") as task:
        assert task.submit("x").result(SOON) == "x"
    assert "memory of this process" not in caplog.text


def test_larger_priorities_come_first(
    rabbit: Rabbit, queue_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Ranked(Gated):
        PRIORITIES = 10

        def priority(self, item: Any) -> int:
            return item if isinstance(item, int) else 0

    with working(Ranked, rabbit.url, queue_name) as task:
        task.queue.put("first")
        assert task.seen.get(timeout=SOON) == ("first", 1)
        task.put_many([1, 9, 5])
        task.gate.set()
        assert [task.seen.get(timeout=SOON)[0] for _ in range(3)] == [9, 5, 1]
    assert "classic queue" in caplog.text


def test_too_large_an_item_is_refused(rabbit: Rabbit, queue_name: str) -> None:
    class Small(Echo):
        MAX_BYTES = 100

    with working(Small, rabbit.url, queue_name) as task:
        with pytest.raises(ValueError, match="100 bytes"):
            task.queue.put("x" * 200)
        assert task.submit("y").result(SOON) == "y"
