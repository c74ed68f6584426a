"""Calls of Geo over thrift, by RPC and by hand, from a client in C."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from sparts.rpc import interface_of
from sparts.thrift.rpc.idl import idl, messages_of
from sparts.thrift.wire import BINARY, CALL

from bench.bench_thrift import run
from bench.harness import Report, interleave
from bench.processes import on_core
from bench.rpc.geo import NESTED, Geo, Point

ROOT = Path(__file__).parents[2]
ROUNDS, SECONDS = 9, 0.4


def prepare(folder: Path) -> dict[str, Path]:
    """Make the client, the code of the service and the requests; return those by method."""
    source = folder / "geo.thrift"
    source.write_text(idl([interface_of(Geo)]))
    run("thrift", "--gen", "py", "-out", str(folder), str(source))
    run("cc", "-O2", "-o", str(folder / "load"), str(ROOT / "bench/thrift/load.c"))
    requests = {}
    points = [Point(float(number), 1.5) for number in range(NESTED)]
    for name, values in (("distance", points[:2]), ("route", [points])):
        messages = messages_of([interface_of(Geo)])["Geo"][name]
        arguments = messages.arguments(values, None, {})
        body = BINARY.write_struct(arguments, messages.arguments_held)
        requests[name] = folder / f"{name}.frame"
        requests[name].write_bytes(BINARY.frame(CALL, name.encode(), b"\0\0\0\1", body))
    return requests


@contextmanager
def serving(folder: Path) -> Iterator[dict[str, int]]:
    """Run both servers; give their ports."""
    with ExitStack() as stack:
        ports = {}
        for how in ("rpc", "hand"):
            command = [sys.executable, "-m", "bench.rpc.serve_thrift", how, str(folder)]
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            assert server.stdout is not None
            ports[how] = int(server.stdout.readline())
        yield ports


def rate(folder: Path, request: Path, connections: int, port: int) -> float:
    """Return the calls a second of a server."""
    command = [str(folder / "load"), str(port), str(connections), str(SECONDS), str(request)]
    calls, seconds, *_ = map(float, subprocess.check_output(command, text=True).split())
    return calls / seconds


def measure(report: Report, folder: Path) -> None:
    """Compare RPC with what is written by hand."""
    requests = prepare(folder)
    with on_core(0), serving(folder) as ports, on_core(1):
        for method, request in requests.items():
            for connections in (1, 16):
                work = {
                    how: partial(rate, folder, request, connections, port)
                    for how, port in ports.items()
                }
                rates = interleave(work, rounds=ROUNDS, warmup=1)
                what = f"{NESTED} nested structs" if method == "route" else "a small call"
                report.ratio(
                    f"thrift: {what}, {connections} in flight",
                    rates["rpc"], rates["hand"], peer="by hand",
                    at_least=0.85 if method == "route" else 0.95, unit="calls/s",
                )  # fmt: skip
