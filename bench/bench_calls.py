"""What wrapping calls costs, and tracing HTTP against OpenTelemetry's own instrumentation.

The collector reads and drops what it gets. wrk is Debian's package of that name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sparts.context import ExecuteContext
from sparts.hookspecs import hookimpl
from sparts.tasks.queue import QueueTask
from sparts.testing.running import make_service
from sparts.vservice import VService

from bench import bench_thrift
from bench.bench_http import Load, put_load
from bench.harness import Report, interleave
from bench.processes import Contender, on_core

SCRIPT = Path(__file__).with_name("calls") / "serve.py"
WAYS = ("plain", "wrapped", "traced", "instrumented")
CONNECTIONS = 16
PAIRS, TURNS = 4, 4
ITEMS, ITEM_ROUNDS = 50_000, 9


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


def measure_http(report: Report) -> None:
    """Compare requests a second, in turns."""
    found: dict[str, list[Load]] = {way: [] for way in WAYS}
    for _ in range(PAIRS):
        with contextlib.ExitStack() as stack:
            contenders: dict[str, Callable[[], Load]] = {}
            for way in WAYS:
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
    for label, ours, peer, least in (
        ("a wrapper that does nothing", "wrapped", "plain", 0.99),
        ("every request traced", "traced", "instrumented", 0.9),
        ("every request traced", "traced", "plain", None),
    ):
        name = {"plain": "no wrapper", "instrumented": "opentelemetry-instrumentation-tornado"}
        report.ratio(
            f"requests/s, {label}", rates[ours], rates[peer], peer=name[peer], at_least=least,
            unit="/s",
        )  # fmt: skip
        report.ratio(
            f"processor time a request, {label}", costs[ours], costs[peer], peer=name[peer]
        )


def measure_thrift(report: Report) -> None:
    """Compare calls a second, of handlers that run in the thread of the connections."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        bench_thrift.prepare(folder)
        contenders: dict[str, Callable[[], bench_thrift.Load]] = {}
        for way in ("sparts inline", "sparts inline wrapped"):
            server = stack.enter_context(bench_thrift.Server(way, folder))
            contenders[way] = partial(
                bench_thrift.load, folder, server, CONNECTIONS, "small", bench_thrift.SECONDS
            )
        found = interleave(contenders, rounds=PAIRS * TURNS)
    plain, wrapped = ([load.rate for load in loads] for loads in found.values())
    report.ratio(
        "thrift calls/s, a wrapper that does nothing", wrapped, plain, peer="no wrapper",
        at_least=0.99, unit="/s", why="A call takes 12 to 16 us, and 0.25 us more: Python "
        "makes the description of the call, and calls two more functions.",
    )  # fmt: skip


class Items(QueueTask[int, int]):
    """Does nothing."""

    def execute(self, item: int, context: ExecuteContext) -> int:
        """Give it back."""
        return item


class Nothing:
    """Wraps every call, and does nothing."""

    @hookimpl
    def sparts_call_wrap(self, task: Any) -> Any:
        """Give the wrapper."""
        return lambda call, proceed: proceed()


class Plain(VService):
    """A queue alone."""

    TASKS = [Items]


class Unasked(VService):
    """A queue for whose calls no plugin is asked, as before there were wrappers."""

    TASKS = [type("Items", (Items,), {"CALL_KIND": ""})]


class Wrapped(Plain):
    """The same, whose calls are wrapped."""

    def initService(self) -> None:  # noqa: N802
        """Register the wrapper."""
        self.hooks.register(Nothing())


def measure_queue(report: Report) -> None:
    """Give the processor time that an item takes more: asked for none, and with a wrapper."""

    def run(queue: Any) -> float:
        before = time.process_time()
        for item in range(ITEMS):
            queue.put(item)
        queue.join()
        return (time.process_time() - before) / ITEMS * 1e6

    with contextlib.ExitStack() as stack:
        contenders: dict[str, Callable[[], float]] = {}
        for cls in (Unasked, Plain, Wrapped):
            thread = make_service(cls, "--level", "ERROR").startBG()
            stack.callback(thread.join)
            stack.callback(thread.service.shutdown)
            contenders[cls.__name__] = partial(run, thread.service.requireTask("Items").queue)
        found = interleave(contenders, rounds=ITEM_ROUNDS)
    none, more = (
        [first - second for first, second in zip(found[one], found[other], strict=True)]
        for one, other in (("Plain", "Unasked"), ("Wrapped", "Plain"))
    )
    report.value(
        "an item of a queue, no wrapper, beside a task whose calls cannot be wrapped", none,
        at_most=0.05, unit="us",
    )  # fmt: skip
    report.value(
        "an item of a queue, a wrapper that does nothing", more, at_most=1.0, unit="us",
        note=f"an item takes {statistics.median(found['Plain']):.2g} us without",
    )  # fmt: skip


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing. Install it: apt-get install wrk")
    os.environ["SPARTS_DISABLE_PLUGINS"] = "otel"
    with Report("calls", packages=("sparts-tornado", "sparts-thrift", "sparts-otel")) as report:
        measure_queue(report)
        measure_thrift(report)
        with collecting():
            measure_http(report)
