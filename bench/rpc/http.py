"""Calls of Geo over HTTP, by RPC, by hand, and by FastAPI, on the same uvicorn and loop."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.bench_http import put_load
from bench.harness import Report, interleave
from bench.processes import Contender, on_core
from bench.rpc.geo import NESTED

SCRIPT = Path(__file__).parents[1] / "asgi" / "rpc_geo.py"
HOW = ("rpc", "hand", "fastapi", "rpc-threads", "fastapi-threads")
PAIRS, TURNS = 3, 4
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
        for connections in (1, 16):
            rates: dict[str, list[float]] = {how: [] for how in HOW}
            for _ in range(PAIRS):
                with ExitStack() as stack:
                    running = {}
                    with on_core(0):
                        for how in HOW:
                            contender = stack.enter_context(Contender(SCRIPT, how))
                            running[how] = (contender, contender.read_stamp("port"))
                            contender.read_stamp("ready")
                    with on_core(1):
                        work = {
                            how: partial(put_load, *each, connections, script)
                            for how, each in running.items()
                        }
                        for how, loads in interleave(work, rounds=TURNS, warmup=1).items():
                            rates[how] += [load.per_second for load in loads]
            what = f"HTTP: {'a small call' if name == 'distance' else f'{NESTED} nested structs'}"
            label = f"{what}, {connections} connections"
            floor = 0.95 if name == "distance" else 0.85
            report.ratio(
                label, rates["rpc"], rates["hand"], peer="by hand", at_least=floor, unit="calls/s"
            )
            for ours, theirs in (("rpc", "fastapi"), ("rpc-threads", "fastapi-threads")):
                how = "" if ours == "rpc" else ", def in threads"
                report.ratio(
                    label + how, rates[ours], rates[theirs], peer="FastAPI", at_least=2.5,
                    unit="calls/s",
                )  # fmt: skip
