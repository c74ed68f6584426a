"""Calls of Geo over HTTP, by RPC, by hand, and by FastAPI, on the same uvicorn and loop."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.bench_http import Load, put_load
from bench.harness import Report, interleave
from bench.processes import Contender, on_core
from bench.rpc.geo import NESTED

SCRIPT = Path(__file__).parents[1] / "asgi" / "rpc_geo.py"
HOW = ("rpc", "hand", "fastapi", "rpc-threads", "fastapi-threads")
LAYOUTS = {
    "16 connections": (16, 1),
    "1 connection, on one core": (1, 0),
    "1 connection, on two cores": (1, 1),
}
"""How many connections wrk has, and on which core it is; the servers are on core 0."""
PAIRS, TURNS = 3, 3
WAKING = (
    "With one connection, server and client wait for each other. On two cores, most of each turn "
    "is the time in which the kernel wakes the other core, the same for both servers. The "
    "processor time and the row of one core are without it."
)
"""Why a row of one connection on two cores says little of the servers."""
HANDING_OVER = (
    "A call of a plain method is handed to a thread and back. On two cores, with one connection, "
    "the waking of idle processors is about half of our processor time, and takes FastAPI as long. "
    "The row of one core is without it."
)
"""Why the processor time of threads misses its target there."""
POST = """
wrk.method = "POST"
wrk.path = "/Geo/{name}"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{body}'
"""


def prepare(folder: Path) -> dict[str, Path]:
    """Write what wrk sends; return it by method."""
    points = [{"x": float(number), "y": 1.5} for number in range(NESTED)]
    bodies = {"distance": {"a": points[0], "b": points[1]}, "route": {"points": points}}
    found = {}
    for name, body in bodies.items():
        found[name] = folder / f"{name}.lua"
        found[name].write_text(POST.format(name=name, body=json.dumps(body)))
    return found


def measure(report: Report, folder: Path) -> None:
    """Compare RPC with what is written by hand, and with FastAPI."""
    if shutil.which("wrk") is None:
        raise SystemExit("This needs wrk.")
    for name, script in prepare(folder).items():
        what = "a small call" if name == "distance" else f"{NESTED} nested structs"
        for layout, (connections, core) in LAYOUTS.items():
            loads = put_loads(script, connections, core)
            judge(report, f"HTTP: {what}, {layout}", loads, 0.95 if name == "distance" else 0.85)


def put_loads(script: Path, connections: int, core: int) -> dict[str, list[Load]]:
    """Put load on all servers in turns, and on several of each in turn; return it by server."""
    found: dict[str, list[Load]] = {how: [] for how in HOW}
    for _ in range(PAIRS):
        with ExitStack() as stack:
            running = {}
            with on_core(0):
                for how in HOW:
                    contender = stack.enter_context(Contender(SCRIPT, how))
                    running[how] = (contender, contender.read_stamp("port"))
                    contender.read_stamp("ready")
            with on_core(core):
                work = {
                    how: partial(put_load, *each, connections, script)
                    for how, each in running.items()
                }
                for how, loads in interleave(work, rounds=TURNS, warmup=1).items():
                    found[how] += loads
    return found


def judge(report: Report, label: str, loads: dict[str, list[Load]], floor: float) -> None:
    """Report the calls a second, and beside FastAPI's the processor time of a call."""
    rates = {how: [load.per_second for load in each] for how, each in loads.items()}
    report.ratio(label, rates["rpc"], rates["hand"], peer="by hand", at_least=floor, unit="calls/s")
    why = WAKING if label.endswith("two cores") else ""
    for ours, theirs in (("rpc", "fastapi"), ("rpc-threads", "fastapi-threads")):
        how = label if ours == "rpc" else f"{label}, def in threads"
        report.ratio(
            how, rates[ours], rates[theirs], peer="FastAPI", at_least=2.5, unit="calls/s", why=why
        )
        times = [[load.cpu for load in loads[each]] for each in (ours, theirs)]
        report.ratio(
            f"{how}: processor time of the server a call",
            *times,
            peer="FastAPI",
            at_most=0.4,
            why=HANDING_OVER if why and how != label else why,
        )
