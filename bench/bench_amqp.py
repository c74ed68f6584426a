"""What an item costs on RabbitMQ, against celery, dramatiq and bare py-amqp on the same broker."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sparts.tasks.amqp import AMQPQueueTask, ExecuteContext
from sparts.vservice import VService

from bench.amqp.peers import Bare, Single, celery_put, dramatiq_put
from bench.harness import Report, interleave
from tests.amqp.rabbit import Rabbit

NUMBER = 10_000
SINGLY = 300
PROCESSES = (1, 4)
CONFIRMATION = (
    "Most of it is the broker's own confirmation of a message in a quorum queue, which all wait "
    "for: the row of py-amqp has the least that is possible. What a library adds shows in the rows "
    "of processor time."
)


class Mailer(AMQPQueueTask):
    """Puts items in; returns what it gets."""

    QUEUE = "ours"
    WORKERS = 0
    broker_url = ""

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Do nothing."""
        return item


class MailService(VService):
    """A service of it."""

    TASKS = [Mailer]


def seconds_singly(put: Callable[[int], object]) -> float:
    """Give the seconds of puts, each confirmed before the next."""
    began = time.perf_counter()
    for item in range(SINGLY):
        put(item)
    return time.perf_counter() - began


def processor_singly(put: Callable[[int], object]) -> float:
    """Give the seconds of processor time of puts, each confirmed before the next."""
    began = time.process_time()
    for item in range(SINGLY):
        put(item)
    return time.process_time() - began


def seconds_many(task: Mailer) -> float:
    """Give the seconds of many puts, confirmed together."""
    began = time.perf_counter()
    task.put_many(range(NUMBER))
    return time.perf_counter() - began


def seconds_until_empty(task: Mailer) -> float:
    """Give the seconds from the first put until the workers have taken all."""
    began = time.perf_counter()
    task.put_many(range(NUMBER))
    while task.queue.qsize():
        time.sleep(0.005)
    return time.perf_counter() - began


def seconds_each(task: Mailer) -> float:
    """Give the median of the milliseconds from submit to result."""
    found = []
    for item in range(100):
        began = time.perf_counter()
        task.submit(item).result(30)
        found.append((time.perf_counter() - began) * 1000)
    return sorted(found)[len(found) // 2]


def seconds_to_import(module: str) -> float:
    """Give the seconds of a process that imports a module."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - began


def worker(url: str) -> subprocess.Popen[bytes]:
    """Start a worker process."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench.bench_amqp", "--worker", "--Mailer-workers", "4",
         "--Mailer-broker", url, "--level", "ERROR"],
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def measure(report: Report, rabbit: Rabbit, task: Mailer) -> None:
    """Compare what a producer pays."""
    single = Single(rabbit.port)
    puts = {
        "ours": task.queue.put,
        "celery": celery_put(rabbit.port),
        "dramatiq": dramatiq_put(rabbit.port),
        "py-amqp": single.put,
    }
    rounds = interleave(
        {name: partial(seconds_singly, put) for name, put in puts.items()}, rounds=5
    )
    costs = interleave(
        {name: partial(processor_singly, put) for name, put in puts.items()}, rounds=5
    )
    single.close()
    report.ratio(
        f"put, each confirmed: {SINGLY} items, beside the least that is possible",
        rounds["ours"], rounds["py-amqp"], peer="py-amqp",
        note="one thread that sends a message and waits for the broker",
    )  # fmt: skip
    for peer, most in (("celery", 1 / 2), ("dramatiq", 1.0)):
        report.ratio(
            f"processor time of put, each confirmed: {SINGLY} items",
            costs["ours"], costs[peer], peer=peer, at_most=most,
        )  # fmt: skip
    for peer, most in (("celery", 1 / 2), ("dramatiq", 1 / 1.5)):
        report.ratio(
            f"put, each confirmed: {SINGLY} items",
            rounds["ours"], rounds[peer], peer=peer, at_most=most,
            why=CONFIRMATION,
        )  # fmt: skip
    bare = Bare(rabbit.port)
    rounds = interleave(
        {"ours": partial(seconds_many, task), "bare": partial(bare.put_many, NUMBER)}, rounds=5
    )
    bare.close()
    report.ratio(
        f"put_many: {NUMBER:,} items",
        rounds["ours"], rounds["bare"], peer="py-amqp", at_most=1 / 0.8,
    )  # fmt: skip


def measure_workers(report: Report, url: str, task: Mailer, processes: int) -> None:
    """Measure what comes back from worker processes."""
    crew = [worker(url) for _ in range(processes)]
    try:
        backlog: Any = task.queue
        backlog.link.call(lambda wire: wire.new_channel().queue_purge("ours"))
        task.submit(0).result(60)
        text = f"{processes} worker process{'es' if processes > 1 else ''} of 4 threads"
        each = [seconds_each(task) for _ in range(5)]
        report.value(f"submit, then result, median: {text}", each, unit="ms", at_most=5)
        through = [NUMBER / seconds_until_empty(task) for _ in range(3)]
        report.value(
            f"put_many until all is done: {NUMBER:,} items, {text}", through, unit="items/s"
        )
    finally:
        for process in crew:
            process.terminate()
        for process in crew:
            process.wait()


def main() -> None:
    """Measure with one broker for all."""
    packages = ["amqp", "celery", "dramatiq"]
    with Report("amqp", packages=packages) as report, Rabbit() as rabbit:
        rounds = interleave(
            {
                "ours": partial(seconds_to_import, "sparts.tasks.amqp.queue"),
                "memory": partial(seconds_to_import, "sparts.tasks.queue"),
            },
            rounds=7,
        )
        report.ratio(
            "import", rounds["ours"], rounds["memory"], peer="sparts.tasks.queue", at_most=2.5
        )
        words = ["--Mailer-broker", rabbit.url, "--level", "ERROR"]
        service = MailService.from_args(words)
        thread = service.startBG()
        task = service.requireTask(Mailer)
        measure(report, rabbit, task)
        for processes in PROCESSES:
            measure_workers(report, rabbit.url, task, processes)
        service.shutdown()
        thread.join()


if __name__ == "__main__":
    if "--worker" in sys.argv:
        sys.argv.remove("--worker")
        MailService.initFromCLI()
    else:
        main()
