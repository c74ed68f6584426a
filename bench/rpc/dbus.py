"""Calls of Geo on D-Bus, by RPC and by hand, from a client in C."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from dbus_fast import Message

from bench.bench_dbus import compile_load
from bench.harness import Report, interleave
from bench.rpc.geo import NESTED
from tests.dbus.daemons import Daemon

ROOT = Path(__file__).parents[2]
NAME, PATH = "org.example.Bench", "/org/example/Bench/Geo"
ROUNDS, SECONDS = 9, 0.4
ADDED = (
    "RPC adds checks of all values, deadlines, and counters and durations of each method. A small "
    "call takes 358,000 instructions of the server with it, 340,000 by hand (1 / 0.95)."
)
"""Why it may be slower than what is written by hand."""


def prepare(folder: Path) -> dict[str, Path]:
    """Write the requests; return them by method."""
    points = [[float(number), 1.5] for number in range(NESTED)]
    bodies: dict[str, tuple[str, list[Any]]] = {
        "distance": ("(dd)(dd)", points[:2]), "route": ("a(dd)", [points]),
    }  # fmt: skip
    found = {}
    for name, (signature, body) in bodies.items():
        message = Message(NAME, PATH, f"{NAME}.Geo", name, signature=signature, body=body, serial=1)
        found[name] = folder / f"{name}.message"
        found[name].write_bytes(bytes(message._marshall(False)))
    return found


def rate(load: Path, folder: Path, request: Path, in_flight: int, how: str) -> float:
    """Return the calls a second that a server answers, on a bus of its own."""
    with Daemon(folder / "bus") as bus:
        server = subprocess.Popen(
            [sys.executable, "-m", "bench.rpc.serve_dbus", how],
            cwd=ROOT,
            env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": bus.address},
        )
        try:
            bus.run(["gdbus", "wait", "--session", "--timeout", "30", NAME])
            arguments = [bus.address, str(in_flight), str(SECONDS), str(request)]
            return float(bus.run([str(load), *arguments]))
        finally:
            server.kill()
            server.wait()


def measure(report: Report, folder: Path) -> None:
    """Compare RPC with what is written by hand."""
    load, requests = compile_load(folder), prepare(folder)
    for method, request in requests.items():
        for in_flight in (1, 16):
            work = {
                how: partial(rate, load, folder, request, in_flight, how) for how in ("rpc", "hand")
            }
            rates = interleave(work, rounds=ROUNDS, warmup=1)
            what = f"{NESTED} nested structs" if method == "route" else "a small call"
            report.ratio(
                f"D-Bus: {what}, {in_flight} in flight",
                rates["rpc"], rates["hand"], peer="by hand",
                at_least=0.85 if method == "route" else 0.95, unit="calls/s", why=ADDED,
            )  # fmt: skip
