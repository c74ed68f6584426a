"""What wrapping calls costs, and tracing HTTP against OpenTelemetry's own instrumentation.

What a wrapper costs is little beside what differs between two processes, or two seconds. So one
process serves a call in each way, in short turns, and what counts is its processor time.

The collector reads and drops what it gets. wrk is Debian's package of that name.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sparts.context import ExecuteContext
from sparts.tasks.queue import QueueTask
from sparts.testing.running import make_service

from bench import bench_thrift
from bench.bench_http import REQUEST, Load, put_load
from bench.calls.ways import FLOOR, WAYS, service_of
from bench.harness import Report, interleave, pairwise
from bench.processes import Contender, on_core

SCRIPT = Path(__file__).with_name("calls") / "serve.py"
TRACING = ("plain", "traced", "instrumented")
CONNECTIONS = 16
PAIRS, TURNS = 4, 4
SERVERS, ROUNDS = 12, 80
"""Processes, and the rounds of each: where its objects lie makes one way of it faster than another,
by as much as a wrapper costs."""
CALLS = {"thrift": 320, "http": 64, "asgi": 160}
"""How many calls a turn has, by what serves them: some milliseconds of work."""
SERVED = {"thrift": "thrift", "http": "HTTP on Tornado", "asgi": "HTTP on ASGI"}
ITEMS = 2_000
WHY = {
    "thrift": "1 % of a call of 7 to 10 us is 0.07 to 0.1 us, about what Python needs for one "
    "object and one function: see the row of these. A wrapper is two functions, with `proceed`.",
    "asgi": "1 % of a request of 17 us is 0.17 us, about what Python needs for one object and one "
    "function: see the row of these. A wrapper is two functions, with `proceed`.",
}


class Sink(BaseHTTPRequestHandler):
    """Takes everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Read and drop."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """Run a collector whose address is in the environment."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["BENCH_COLLECTOR"] = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()


def measure_tracing(report: Report) -> None:
    """Compare requests a second, in turns."""
    found: dict[str, list[Load]] = {way: [] for way in TRACING}
    for _ in range(PAIRS):
        with contextlib.ExitStack() as stack:
            contenders: dict[str, Callable[[], Load]] = {}
            for way in TRACING:
                with on_core(0):
                    contender = stack.enter_context(Contender(SCRIPT, way))
                port = contender.read_stamp("port")
                contender.read_stamp("ready")
                contenders[way] = partial(put_load, contender, port, CONNECTIONS)
            stack.enter_context(on_core(1))
            for way, loads in interleave(contenders, rounds=TURNS, warmup=1).items():
                found[way] += loads
    rates = {way: [load.per_second for load in loads] for way, loads in found.items()}
    costs = {way: [load.cpu for load in loads] for way, loads in found.items()}
    label, ours = "every request traced", "traced"
    names = {"instrumented": "opentelemetry-instrumentation-tornado", "plain": "no wrapper"}
    for other, peer in names.items():
        least = 0.9 if other == "instrumented" else None
        report.ratio(
            f"requests/s, {label}", rates[ours], rates[other], peer=peer, at_least=least, unit="/s"
        )
        report.ratio(f"processor time a request, {label}", costs[ours], costs[other], peer=peer)


def turned(ways: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Give the order of some ways for each of SERVERS."""
    for number in range(SERVERS):
        first = number % len(ways)
        order = ways[first:] + ways[:first]
        yield order if number // len(ways) % 2 == 0 else order[::-1]


def judge(
    report: Report, label: str, found: dict[str, list[float]], most: float | None, why: str = ""
) -> None:
    """Judge what a wrapper that does nothing costs, and what it costs that there may be some.

    ``most`` is how many microseconds the first may be; None: 1 % of the call.
    """
    report.more(
        f"{label}, no wrapper", found["plain"], found["unasked"],
        peer="a task whose calls cannot be wrapped", at_most=1.005, unit="us",
    )  # fmt: skip
    report.more(
        f"{label}, a wrapper that does nothing", found["wrapped"], found["plain"],
        peer="no wrapper", at_most=most or 1.01, unit="us", relative=most is None, why=why,
    )  # fmt: skip


class Server:
    """A process that serves in several ways; a context manager that kills it at the end."""

    def __init__(self, kind: str, folder: Path, ways: Iterable[str]) -> None:
        command = [sys.executable, "-m", "bench.calls.ways", kind, str(folder), *ways]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.ports: dict[str, int] = json.loads(self.process.stdout.readline())
        self._clock = ~self.process.pid << 3 | 2  # as clock_getcpuclockid(3) of any process gives

    def microseconds(self) -> float:
        """Give the processor time that it has used."""
        return time.clock_gettime_ns(self._clock) / 1e3

    def __enter__(self) -> Server:
        """Give the server."""
        return self

    def __exit__(self, *error: object) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


class Client:
    """Connections to one way, each with one request under way at a time."""

    def __init__(self, server: Server, way: str, request: bytes, calls: int) -> None:
        address = ("127.0.0.1", server.ports[way])
        self.server, self.request, self.times = server, request, calls // CONNECTIONS
        self.sockets = [socket.create_connection(address) for _ in range(CONNECTIONS)]
        self.sockets[0].sendall(request)
        time.sleep(1.0)  # for the whole answer, whose length all others have
        self.length = len(self.sockets[0].recv(1 << 16))

    def close(self) -> None:
        """Close them."""
        for each in self.sockets:
            each.close()

    def ask(self) -> float:
        """Make the calls of one turn, and give the processor time of one."""
        before = self.server.microseconds()
        for _ in range(self.times):
            for each in self.sockets:
                each.sendall(self.request)
            for each in self.sockets:
                got = 0
                while got < self.length:
                    got += len(each.recv(1 << 16)) or sys.exit("The server has gone.")
        return (self.server.microseconds() - before) / (self.times * CONNECTIONS)


def measure_calls(report: Report, kind: str, folder: Path) -> None:
    """Compare the processor time of a call."""
    request = (folder / "small.frame").read_bytes() if kind == "thrift" else REQUEST
    every = (*WAYS, FLOOR)
    found: dict[str, list[float]] = {way: [] for way in every}
    for ways in turned(every):
        # On one core, so that the server finds the calls of all connections when it is woken.
        with on_core(0), Server(kind, folder, ways) as server, contextlib.ExitStack() as stack:
            clients = {way: Client(server, way, request, CALLS[kind]) for way in ways}
            for client in clients.values():
                stack.callback(client.close)
            asked = {way: client.ask for way, client in clients.items()}
            for way, times in pairwise(asked, rounds=ROUNDS).items():
                found[way] += times
    judge(report, SERVED[kind], found, None, WHY.get(kind, ""))
    report.more(
        f"{SERVED[kind]}, one Python function and an object more, without any wrapper",
        found[FLOOR], found["plain"], peer="no wrapper", unit="us",
    )  # fmt: skip


class Items(QueueTask[int, int]):
    """Does nothing but notes the processor time of its worker, at the first item and the last."""

    WORKERS = 1
    times: list[float]

    def execute(self, item: int, context: ExecuteContext) -> int:
        """Give it back."""
        if item in (0, ITEMS):
            self.times.append(time.thread_time_ns() / 1e3)
            if item == 0:
                self.go.wait()
        return item

    def initTask(self) -> None:  # noqa: N802
        """Have nothing noted."""
        super().initTask()
        self.times, self.go = [], threading.Event()

    def turn(self) -> float:
        """Have items wait, then let the worker go; give the microseconds of its time for one."""
        self.times, self.go = [], threading.Event()
        self.queue.put_many(range(ITEMS + 1))
        self.go.set()
        self.queue.join()
        began, ended = self.times
        return (ended - began) / ITEMS


def measure_queue(report: Report) -> None:
    """Compare the processor time of an item."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for ways in turned(WAYS):
        with contextlib.ExitStack() as stack:
            asked: dict[str, Callable[[], float]] = {}
            for way in ways:
                thread = make_service(service_of(way, Items), "--level", "ERROR").startBG()
                stack.callback(thread.join)
                stack.callback(thread.service.shutdown)
                asked[way] = thread.service.requireTask(Items).turn
            for way, times in pairwise(asked, rounds=ROUNDS).items():
                found[way] += times
    judge(report, "an item of a queue", found, most=1.0)


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing. Install it: apt-get install wrk")
    os.environ["SPARTS_DISABLE_PLUGINS"] = "otel,reload"
    packages = ("sparts-tornado", "sparts-asgi", "sparts-thrift", "sparts-otel")
    with Report("calls", packages=packages) as report, tempfile.TemporaryDirectory() as name:
        bench_thrift.prepare(Path(name))
        measure_queue(report)
        for each in CALLS:
            measure_calls(report, each, Path(name))
        with collecting():
            measure_tracing(report)
