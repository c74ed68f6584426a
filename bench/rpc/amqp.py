"""Calls of Geo through queues at RabbitMQ, by RPC and by hand, from one client."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sparts.rpc import connect
from sparts.vservice import VService

from bench.harness import Report, interleave
from bench.rpc.geo import NESTED, Geo, Point
from bench.rpc.serve_amqp import Distance, Route
from tests.amqp.rabbit import Rabbit

ROOT = Path(__file__).parents[2]
ROUNDS, SECONDS = 7, 0.5


@contextmanager
def serving(url: str) -> Iterator[None]:
    """Run both servers."""
    with ExitStack() as stack:
        for how in ("rpc", "hand"):
            command = [sys.executable, "-m", "bench.rpc.serve_amqp", how, url]
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            stack.callback(server.wait)
            stack.callback(server.terminate)
            assert server.stdout is not None
            server.stdout.readline()
        yield


def rate(call: Callable[[], object], in_flight: int) -> float:
    """Return the calls a second of so many threads."""
    until = time.perf_counter() + SECONDS

    def repeat(_: int) -> int:
        count = 0
        while time.perf_counter() < until:
            call()
            count += 1
        return count

    with ThreadPoolExecutor(in_flight) as threads:
        return sum(threads.map(repeat, range(in_flight))) / SECONDS


def measure(report: Report, folder: Path) -> None:
    """Compare RPC with what is written by hand."""

    class Client(VService):
        TASKS = [
            type(task.__name__, (task,), {"WORKERS": 0, "__module__": __name__})
            for task in (Distance, Route)
        ]

    points = [Point(float(number), 1.5) for number in range(NESTED)]
    with Rabbit() as rabbit, serving(rabbit.url), connect(rabbit.url, Geo) as geo:
        url = rabbit.url
        argv = ["--Distance-broker", url, "--Route-broker", url, "--level", "ERROR"]
        service = Client.from_args(argv)
        thread = service.startBG()
        tasks: Any = {name: service.requireTask(name) for name in ("Distance", "Route")}
        for name, rpc, hand in (
            ("a small call", partial(geo.distance, *points[:2]), (tasks["Distance"], points[:2])),
            (f"{NESTED} nested structs", partial(geo.route, points), (tasks["Route"], points)),
        ):
            task, item = hand

            def submit(task: Any = task, item: Any = item) -> object:
                return task.submit(item).result(30)

            for in_flight in (1, 16):
                work = {
                    "rpc": partial(rate, rpc, in_flight),
                    "hand": partial(rate, submit, in_flight),
                }
                rates = interleave(work, rounds=ROUNDS, warmup=1)
                report.ratio(
                    f"AMQP: {name}, {in_flight} in flight",
                    rates["rpc"], rates["hand"], peer="by hand",
                    at_least=0.85 if name != "a small call" else 0.95, unit="calls/s",
                )  # fmt: skip
        service.shutdown()
        thread.join()
