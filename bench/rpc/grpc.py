"""Calls of Geo over gRPC, by RPC and by hand, from one client of grpc.aio."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import grpc.aio
from grpc_tools import protoc
from sparts.rpc import interface_of
from sparts.tasks.grpc.rpc.codecs import built
from sparts.tasks.grpc.rpc.schema import Schema
from sparts.tasks.grpc.rpc.text import proto_of

from bench.harness import Report, interleave
from bench.processes import on_core
from bench.rpc.geo import NESTED, Geo, Point

ROOT = Path(__file__).parents[2]
ROUNDS, SECONDS = 9, 0.4


def prepare(folder: Path) -> dict[str, bytes]:
    """Make the code of the service, and return the requests by method."""
    (folder / "geo.proto").write_text(proto_of([interface_of(Geo)]))
    arguments = [f"-I{folder}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    if protoc.main(["protoc", *arguments, str(folder / "geo.proto")]):
        raise RuntimeError("grpcio-tools cannot read what `sparts rpc idl --proto` prints.")
    points = [Point(float(number), 1.5) for number in range(NESTED)]
    messages = Schema(interface_of(Geo)).methods
    requests = {}
    for name, values in (("distance", points[:2]), ("route", [points])):
        method = messages[f"Geo.{name}"]
        requests[name] = built(method.request, method.arguments, values).SerializeToString()
    return requests


@contextmanager
def serving(folder: Path) -> Iterator[dict[str, int]]:
    """Run both servers; give their ports."""
    with ExitStack() as stack:
        ports = {}
        for how in ("rpc", "hand"):
            command = [sys.executable, "-m", "bench.rpc.serve_grpc", how, str(folder)]
            server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            stack.callback(server.wait)
            stack.callback(server.kill)
            assert server.stdout is not None
            ports[how] = int(server.stdout.readline())
        yield ports


def rate(method: str, request: bytes, in_flight: int, port: int) -> float:
    """Return the calls a second of a server."""

    async def load() -> float:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(f"/Geo/{method}")
            await call(request)
            until = time.perf_counter() + SECONDS

            async def repeat() -> int:
                count = 0
                while time.perf_counter() < until:
                    await call(request)
                    count += 1
                return count

            return sum(await asyncio.gather(*(repeat() for _ in range(in_flight)))) / SECONDS

    return asyncio.run(load())


def measure(report: Report, folder: Path) -> None:
    """Compare RPC with what is written by hand."""
    requests = prepare(folder)
    with on_core(0), serving(folder) as ports, on_core(1):
        for method, request in requests.items():
            for in_flight in (1, 16):
                work = {
                    how: partial(rate, method, request, in_flight, port)
                    for how, port in ports.items()
                }
                rates = interleave(work, rounds=ROUNDS, warmup=1)
                what = f"{NESTED} nested structs" if method == "route" else "a small call"
                report.ratio(
                    f"gRPC: {what}, {in_flight} in flight",
                    rates["rpc"], rates["hand"], peer="by hand",
                    at_least=0.85 if method == "route" else 0.95, unit="calls/s",
                )  # fmt: skip
