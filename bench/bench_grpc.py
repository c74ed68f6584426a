"""GrpcTask with its counters on, against bare grpclib and bare grpc.aio: calls a second.

The load is h2load's, which is in Debian's nghttp2-client. Where there are two cores, the server has
one and h2load another.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from google.protobuf.wrappers_pb2 import StringValue

from bench.bench_http import processor_seconds
from bench.harness import Report, interleave
from bench.processes import Contender, on_core

SCRIPTS = Path(__file__).with_name("grpc")
NAMES = {"sparts": "on_sparts", "grpclib": "on_grpclib", "grpc.aio": "on_grpcio"}
IN_FLIGHT = (1, 16, 64)
CALLS = {1: 1000, 16: 3000, 64: 3000}
PAIRS = 4
TURNS = 3


@contextlib.contextmanager
def serving(*args: str) -> Iterator[dict[str, tuple[Contender, int]]]:
    """Run the servers; give each with its port."""
    with contextlib.ExitStack() as stack:
        running = {}
        for name, script in NAMES.items():
            contender = stack.enter_context(Contender(SCRIPTS / f"{script}.py", *args))
            port = contender.read_stamp("port")
            contender.read_stamp("ready")
            running[name] = (contender, port)
        yield running


def put_load(contender: Contender, port: int, in_flight: int, message: str) -> tuple[float, float]:
    """Make calls; return how many a second, and the server's processor time a call.

    RuntimeError: one was not answered.
    """
    before = processor_seconds(contender.process.pid)
    calls = CALLS[in_flight]
    headers = ["-Hcontent-type: application/grpc", "-Hte: trailers"]
    command = ["h2load", f"-n{calls}", "-c1", f"-m{in_flight}", "-t1", f"-d{message}", *headers]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/bench.Echo/Echo"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    answered = re.search(r"(\d+) succeeded", done)
    rate = re.search(r"finished in .*?, ([\d.]+) req/s", done)
    if answered is None or rate is None or int(answered[1]) != calls:
        raise RuntimeError(done)
    return float(rate[1]), (processor_seconds(contender.process.pid) - before) / calls


def measure_load(report: Report, loop: str, message: str, *args: str) -> None:
    """Compare calls a second; the servers of a round are asked in turns."""
    found: dict[str, dict[int, list[tuple[float, float]]]] = {
        name: {number: [] for number in IN_FLIGHT} for name in NAMES
    }
    for _ in range(PAIRS):
        with on_core(0), serving(*args) as running, on_core(1):
            for in_flight in IN_FLIGHT:
                contenders = {
                    name: partial(put_load, contender, port, in_flight, message)
                    for name, (contender, port) in running.items()
                }
                loads = interleave(contenders, rounds=TURNS, warmup=1)
                for name in NAMES:
                    found[name][in_flight] += loads[name]
    for in_flight in IN_FLIGHT:
        for peer, at_least in (("grpclib", 0.95), ("grpc.aio", None)):
            ours, theirs = found["sparts"][in_flight], found[peer][in_flight]
            label = f"{in_flight} in flight, {loop}"
            report.ratio(
                f"calls/s, {label}",
                [rate for rate, _ in ours],
                [rate for rate, _ in theirs],
                peer=peer,
                at_least=at_least,
                unit="/s",
            )
            report.ratio(
                f"processor time a call, {label}",
                [seconds for _, seconds in ours],
                [seconds for _, seconds in theirs],
                peer=peer,
            )


if __name__ == "__main__":
    if shutil.which("h2load") is None:
        sys.exit("h2load is missing. Install it: apt-get install nghttp2-client")
    with (
        tempfile.NamedTemporaryFile() as file,
        Report("grpc", packages=("sparts-grpc", "grpcio", "grpclib", "h2", "uvloop")) as report,
    ):
        message = StringValue(value="x" * 100).SerializeToString()
        file.write(b"\0" + len(message).to_bytes(4) + message)
        file.flush()
        measure_load(report, "asyncio", file.name)
        measure_load(report, "uvloop", file.name, "--uvloop")
