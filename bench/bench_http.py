"""TornadoHTTPTask with its counters on, against raw Tornado: wrk, idle connections, wake-ups.

wrk is Debian's package of that name. Where there are two cores, the server has one and wrk another.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench.harness import Report, interleave
from bench.processes import Contender, on_core

SCRIPTS = Path(__file__).with_name("http")
NAMES = {"sparts": "on_sparts", "tornado": "raw"}
CONNECTIONS = (16, 256)
PAIRS = 6
TURNS = 4
SECONDS = 1
IDLE_CONNECTIONS = 10_000
REST = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


class Load(NamedTuple):
    """What wrk saw, and what it cost."""

    per_second: float
    p99: float
    """Milliseconds."""
    cpu: float
    """Seconds of the server's processor time a request: it tells more on a busy machine."""


@contextlib.contextmanager
def serving(*args: str) -> Iterator[dict[str, tuple[Contender, int]]]:
    """Run both servers; give each with its port."""
    with contextlib.ExitStack() as stack:
        running = {}
        for name, script in NAMES.items():
            contender = stack.enter_context(Contender(SCRIPTS / f"{script}.py", *args))
            port = contender.read_stamp("port")
            contender.read_stamp("ready")
            running[name] = (contender, port)
        yield running


def processor_seconds(pid: int) -> float:
    """Give the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def put_load(contender: Contender, port: int, connections: int, script: Path | None = None) -> Load:
    """Ask for SECONDS over that many connections; RuntimeError if anything was not answered.

    A script of wrk says what is asked.
    """
    before = processor_seconds(contender.process.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency"]
    command += [] if script is None else ["-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    ).stdout
    if "Socket errors" in done or "Non-2xx" in done:
        raise RuntimeError(done)
    per_second = re.search(r"Requests/sec:\s+([\d.]+)", done)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", done)
    asked = re.search(r"(\d+) requests in", done)
    if per_second is None or p99 is None or asked is None:
        raise RuntimeError(done)
    cpu = (processor_seconds(contender.process.pid) - before) / int(asked[1])
    return Load(float(per_second[1]), float(p99[1]) * UNITS[p99[2]], cpu)


def measure_load(report: Report, loop: str, *args: str) -> None:
    """Compare requests a second and the slowest of a hundred, at 16 and 256 connections.

    Two processes of the same code differ by some percent for all their life, as their memory lies
    differently, and the speed of a (virtual) machine from one second to the next. So there are
    several pairs of servers, and those of a pair are asked in turns, for a second each.
    """
    found: dict[str, dict[int, list[Load]]] = {
        name: {number: [] for number in CONNECTIONS} for name in NAMES
    }
    for _ in range(PAIRS):
        with on_core(0), serving(*args) as running, on_core(1):
            for contender, port in running.values():
                put_load(contender, port, CONNECTIONS[0])  # warms it up
            for connections in CONNECTIONS:
                contenders = {
                    name: partial(put_load, contender, port, connections)
                    for name, (contender, port) in running.items()
                }
                loads = interleave(contenders, rounds=TURNS, warmup=0)
                for name in NAMES:
                    found[name][connections] += loads[name]
    for connections in CONNECTIONS:
        label = f"{connections} connections, {loop}"
        ours, theirs = (found[name][connections] for name in NAMES)
        report.ratio(
            f"requests/s, {label}",
            [load.per_second for load in ours],
            [load.per_second for load in theirs],
            peer="tornado",
            at_least=0.97,
            unit="/s",
        )
        report.ratio(
            f"p99, {label}",
            [load.p99 for load in ours],
            [load.p99 for load in theirs],
            peer="tornado",
            at_most=1.03,
            unit="ms",
        )
        report.ratio(
            f"processor time a request, {label}",
            [load.cpu for load in ours],
            [load.cpu for load in theirs],
            peer="tornado",
        )


def resident(pid: int) -> int:
    """Give the bytes of memory that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    if found is None:
        raise RuntimeError(f"no VmRSS of {pid}")
    return int(found[1]) * 1024


def hold_connections(contender: Contender, port: int) -> float:
    """Give the memory in MB of a server with many connections that were used once and kept."""
    with contextlib.ExitStack() as stack:
        for _ in range(IDLE_CONNECTIONS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            client.sendall(REQUEST)
            answer = b""
            while not answer.endswith(b"Hello, world"):
                answer += client.recv(65536)
        return resident(contender.process.pid) / 1e6


def measure_memory(report: Report) -> None:
    """Compare what idle connections cost; each round has new servers."""

    def one(name: str) -> float:
        with Contender(SCRIPTS / f"{NAMES[name]}.py") as contender:
            port = contender.read_stamp("port")
            contender.read_stamp("ready")
            return hold_connections(contender, port)

    found = interleave({name: partial(one, name) for name in NAMES}, rounds=3, warmup=0)
    report.ratio(
        f"memory with {IDLE_CONNECTIONS:,} idle connections",
        found["sparts"],
        found["tornado"],
        peer="tornado",
        at_most=1.1,
        unit="MB",
    )


def measure_rest(report: Report) -> None:
    """Count what wakes up at rest: without a connection, and with one that is kept."""
    with serving() as running, contextlib.ExitStack() as stack:
        for kept in (False, True):
            if kept:
                for _, port in running.values():
                    client = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
                    client.sendall(REQUEST)
                    client.recv(65536)
            time.sleep(1.0)
            before = {name: contender.switches() for name, (contender, _) in running.items()}
            time.sleep(REST)
            for name, (contender, _) in running.items():
                what = "with an idle connection" if kept else "without a connection"
                report.value(
                    f"wake-ups in {REST:g} s {what}, {name}",
                    [contender.switches() - before[name]],
                    unit="switches",
                    at_most=0 if name == "sparts" else None,
                )


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing. Install it: apt-get install wrk")
    with Report("http", packages=("sparts-tornado", "uvloop")) as report:
        measure_load(report, "asyncio")
        measure_load(report, "uvloop", "--uvloop")
        measure_memory(report)
        measure_rest(report)
