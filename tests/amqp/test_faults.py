"""Nothing is lost when workers, the network or the broker fail; duplicates are bounded."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from queue import Full
from typing import Any

import amqp
import pytest
from sparts.errors import TaskStoppedError
from sparts.tasks.amqp.addresses import broker_addresses
from sparts.tasks.amqp.errors import BrokenError, RemoteError
from sparts.tasks.amqp.link import Link
from sparts.testing.waiting import no_further_threads, wait_ready

from tests.amqp.crew import Crew, crew_of
from tests.amqp.proxy import Proxy
from tests.amqp.rabbit import Rabbit
from tests.amqp.tasks import SOON, AsyncEcho, Echo, Gated, Producer, until, working
from tests.threads import in_threads

pytestmark = pytest.mark.one_python

LONG = 90.0
PREFETCH = 4


class Feeder(Producer):
    """Puts items into the queue of the workers of tests/amqp/worker.py."""

    DELIVERY_LIMIT = 100


def all_done(crew: Crew, wanted: int, timeout: float = LONG) -> None:
    """Wait until so many items are done, at least once each; 0 lost."""
    until(lambda: len(crew.done()) >= wanted, f"{wanted} items, lost none", timeout)


def test_connection_that_got_no_thread_is_closed() -> None:
    link = Link(broker_addresses("amqp://localhost:1"), "threadless", logging.getLogger("link"))
    with no_further_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        link.start()
    link.close(0)


@pytest.mark.parametrize("kind", ["threads", "async"])
def test_kills_and_broker_restarts_lose_nothing(
    own_rabbit: Rabbit, tmp_path: Path, kind: str
) -> None:
    count, restarts = 1500, 2
    with (
        working(Feeder, own_rabbit.url, "many") as task,
        crew_of(tmp_path, own_rabbit.url, "many", kind, 4) as crew,
    ):
        fed = threading.Thread(target=task.put_many, args=(range(count),))
        fed.start()
        for step in range(1, 7):
            all_done(crew, count * step // 8)
            if step in (2, 5):
                # The kill second: RabbitMQ 3.10 may lose a queue that it has had for seconds only.
                own_rabbit.stop() if step == 2 else own_rabbit.kill()
                own_rabbit.start()
            else:
                crew.replace_one(signal.SIGKILL)
        fed.join(LONG)
        all_done(crew, count)
        done = crew.done()
        again = done.total() - count
        # A restart of the broker interrupts what every worker has, as a kill does for one, and
        # confirmations that were lost with it make the producer send again.
        unconfirmed = 1001 * restarts
        assert again <= PREFETCH * (crew.kills + 4 * restarts) + unconfirmed
        until(lambda: task.queue.link.connected, "the connection")
        until(lambda: task.queue.qsize() == 0, "an empty queue")


def test_rolling_restart_does_each_item_once(
    rabbit: Rabbit, queue_name: str, tmp_path: Path
) -> None:
    count = 600
    with (
        working(Feeder, rabbit.url, queue_name) as task,
        crew_of(tmp_path, rabbit.url, queue_name, "threads", 2) as crew,
    ):
        task.put_many(range(count))
        for step in range(1, 5):
            all_done(crew, count * step // 6)
            ended = crew.replace_one(signal.SIGTERM)
            assert ended in (0, -signal.SIGTERM)  # the latter: it had not begun to start
        all_done(crew, count)
        assert crew.done().total() == count


def test_item_of_killed_process_comes_again_at_once(
    rabbit: Rabbit, queue_name: str, tmp_path: Path
) -> None:
    with (
        working(Feeder, rabbit.url, queue_name) as task,
        crew_of(tmp_path, rabbit.url, queue_name, "threads", 1) as crew,
    ):
        future = task.submit("slow")
        until(lambda: "began" in crew.log(), "the begin")
        crew.replace_one(signal.SIGKILL)
        assert future.result(SOON) == "slow"


def test_poison_fails_the_submitter(rabbit: Rabbit, queue_name: str, tmp_path: Path) -> None:
    with (
        working(Feeder, rabbit.url, queue_name) as task,
        crew_of(tmp_path, rabbit.url, queue_name) as crew,
    ):
        future = task.submit("poison")
        for _ in range(3):
            crew.hire(1, "--worker-max-attempts", "3")
            assert crew.members.pop().wait(SOON) == -signal.SIGKILL
            assert not future.done()
        crew.hire(1, "--worker-max-attempts", "3")
        error = future.exception(SOON)
        assert isinstance(error, RemoteError)
        assert error.type == "TooManyDeliveries"
        assert task.submit("fine").result(SOON) == "fine"


def test_item_put_off_survives_worker_and_broker(own_rabbit: Rabbit, tmp_path: Path) -> None:
    with (
        working(Feeder, own_rabbit.url, "later") as task,
        crew_of(tmp_path, own_rabbit.url, "later", "threads", 1) as crew,
    ):
        # RabbitMQ 3.10 may lose a queue that was declared seconds before it is killed.
        assert task.submit(["later", 3]).result(LONG) == ["later", 3]
        future = task.submit(["later", 3])
        delayed = task.queue.layout.delay_name(3000)
        until(lambda: own_rabbit.depth(delayed) == 1, "the item in the delay queue")
        crew.end_one(signal.SIGKILL).wait()
        own_rabbit.kill()
        own_rabbit.start()
        crew.hire()
        assert future.result(LONG) == ["later", 3]


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_connections_cut_within_frames_lose_nothing(
    rabbit: Rabbit, queue_name: str, kind: Any
) -> None:
    with Proxy(rabbit.port) as proxy, working(kind, proxy.url, queue_name) as task:
        for after in (7, 100, 1001, 3003):
            proxy.cut(after)
            task.put_many(range(200))
            futures = [task.submit(f"{after}-{n}") for n in range(20)]
            assert [one.result(SOON) for one in futures] == [f"{after}-{n}" for n in range(20)]
        wait_ready(task.service)
        assert task.queue.link.n_losses >= 1
        seen: set[Any] = set()
        while len(seen) < 200 + 80:
            seen.add(task.seen.get(timeout=SOON)[0])


@pytest.mark.parametrize("kind", [Echo, AsyncEcho])
def test_another_node_takes_over(rabbit: Rabbit, queue_name: str, kind: Any) -> None:
    nodes = [Proxy(rabbit.port) for _ in range(3)]
    nodes[0].close()  # it is down from the beginning
    url = ",".join(node.url for node in nodes)
    with working(kind, url, queue_name) as task:
        assert task.submit("second").result(SOON) == "second"
        nodes[1].close()
        futures = [task.submit(number) for number in range(20)]
        assert [one.result(SOON) for one in futures] == list(range(20))
        assert task.queue.link.n_losses == 1
    nodes[2].close()


def test_half_open_connection_is_found_by_heartbeats(rabbit: Rabbit, queue_name: str) -> None:
    with Proxy(rabbit.port) as proxy, working(Echo, proxy.url + "?heartbeat=1", queue_name) as task:
        assert task.submit("before").result(SOON) == "before"
        proxy.fall_silent()
        with pytest.raises(Full):
            task.queue.put("lost?", timeout=0.2)
        until(lambda: not task.ready, "the loss to be noticed")
        with pytest.raises(BrokenError):
            task.queue.qsize()
        with in_threads(lambda: task.queue.put("meanwhile")):
            proxy.recover()
        assert task.submit("after").result(SOON) == "after"


def test_blocked_broker_holds_up_neither_put_nor_stop(own_rabbit: Rabbit) -> None:
    with working(Echo, own_rabbit.url, "alarm") as task:
        own_rabbit.control("set_vm_memory_high_watermark", "0.00001")
        with pytest.raises(Full):
            put_on(task)
        until(lambda: task.queue.link.blocked, "the alarm")
        with pytest.raises(Full):
            task.queue.put_nowait("y")
        with in_threads(lambda: refused(task)):
            task.service.shutdown()
            assert task.service.ended.wait(SOON)
            assert not task.queue.link.thread_id  # it waits for no answer of the broker


def put_on(task: Any) -> None:
    """Put items in until there is no way to."""
    for _ in range(100):
        task.queue.put("x", timeout=0.3)


def refused(task: Any) -> None:
    """Wait for room that never comes."""
    with pytest.raises(TaskStoppedError):
        task.queue.put("waits")


def test_put_goes_on_when_the_alarm_ends(own_rabbit: Rabbit) -> None:
    with working(Echo, own_rabbit.url, "alarm") as task:
        own_rabbit.control("set_disk_free_limit", "100000GB")
        with pytest.raises(Full):
            put_on(task)
        with in_threads(lambda: task.queue.put("waited")):
            own_rabbit.control("set_disk_free_limit", "1MB")
        while task.seen.get(timeout=SOON)[0] != "waited":
            pass


def test_deleted_queue_is_declared_again(rabbit: Rabbit, queue_name: str) -> None:
    with (
        working(Echo, f"{rabbit.url}?heartbeat=1", queue_name) as worker,
        working(Producer, rabbit.url, queue_name) as producer,
    ):
        rabbit.control("delete_queue", queue_name)
        producer.queue.put("put into none")
        assert worker.seen.get(timeout=SOON) == ("put into none", 1)
        rabbit.control("delete_queue", f"{queue_name}.dead")
        assert producer.submit("fine").result(SOON) == "fine"


def test_unfinished_work_survives_a_lost_connection(rabbit: Rabbit, queue_name: str) -> None:
    """It is not begun a second time in the same process, and its outcome arrives."""
    with Proxy(rabbit.port) as proxy, working(Gated, proxy.url, queue_name) as task:
        future = task.submit("long")
        assert task.seen.get(timeout=SOON) == ("long", 1)
        for _ in range(2):
            losses = task.queue.link.n_losses
            proxy.cut()
            while task.queue.link.n_losses == losses:
                time.sleep(0.01)
            wait_ready(task.service)
        task.gate.set()
        assert future.result(SOON) == "long"
        assert task.seen.empty()
        until(lambda: task.queue.consumer.holds == 0, "the acknowledgement")


def test_item_that_takes_too_long_is_told(own_rabbit: Rabbit, caplog: Any) -> None:
    own_rabbit.evaluate("application:set_env(rabbit, channel_tick_interval, 500).")
    own_rabbit.evaluate("application:set_env(rabbit, consumer_timeout, 1000).")
    with working(Gated, own_rabbit.url, "slow") as task:
        task.queue.put("slow")
        assert task.seen.get(timeout=SOON) == ("slow", 1)
        until(lambda: "consumer_timeout" in caplog.text, "the error")
        task.gate.set()
        until(lambda: task.n_completed() == 1, "the end of the item")


def test_new_channel_has_another_number_than_the_last(rabbit: Rabbit, queue_name: str) -> None:
    def open_and_close(wire: Any) -> int:
        channel = wire.new_channel()
        number = int(channel.channel_id)
        channel.close()
        return number

    with working(Echo, rabbit.url, queue_name) as task:
        link = task.queue.link
        assert link.call(open_and_close) != link.call(open_and_close)


def test_answer_that_never_comes_ends_the_connection(rabbit: Rabbit, queue_name: str) -> None:
    def ask(wire: Any) -> None:
        wire.answer_timeout = 0.5
        channel = wire.new_channel()
        channel.basic_consume(queue_name, no_ack=True, callback=lambda _: None)
        channel.wait(amqp.spec.Channel.FlowOk)

    done = threading.Event()

    def send() -> None:  # while it hears of other things
        with amqp.Connection(f"127.0.0.1:{rabbit.port}") as connection:
            channel = connection.channel()
            while not done.wait(0.01):
                channel.basic_publish(amqp.Message(b"1"), "", queue_name)

    with working(Echo, rabbit.url, queue_name) as task:
        with in_threads(send):
            with pytest.raises(BrokenError, match="did not answer in time"):
                task.queue.link.call(ask)
            done.set()
        assert task.submit("on").result(SOON) == "on"
