"""AsgiTask with its counters on, against bare uvicorn; beside it TornadoHTTPTask and other servers.

wrk is Debian's package of that name. Where there are two cores, the server has one and wrk another.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import timeit
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.bench_http import Load, put_load
from bench.harness import Report, interleave
from bench.processes import Contender, on_core

SCRIPTS = Path(__file__).with_name("asgi")
TORNADO = Path(__file__).with_name("http") / "on_sparts.py"
CONNECTIONS = (16, 64)
PAIRS = 6
TURNS = 4
PEERS = ("tornado", "gunicorn", "hypercorn", "granian")


@contextlib.contextmanager
def serving(scripts: dict[str, list[str]]) -> Iterator[dict[str, tuple[Contender, int]]]:
    """Run servers; give each with its port."""
    with contextlib.ExitStack() as stack:
        running = {}
        for name, (script, *args) in scripts.items():
            contender = stack.enter_context(Contender(Path(script), *args))
            port = contender.read_stamp("port")
            contender.read_stamp("ready")
            running[name] = (contender, port)
        yield running


def measure_load(report: Report, loop: str, *args: str) -> None:
    """Compare with bare uvicorn, in pairs of servers that are asked in turns."""
    scripts = {
        "sparts": [str(SCRIPTS / "on_sparts.py"), *args],
        "uvicorn": [str(SCRIPTS / "raw.py"), *args],
    }
    found: dict[str, dict[int, list[Load]]] = {
        name: {number: [] for number in CONNECTIONS} for name in scripts
    }
    for _ in range(PAIRS):
        with on_core(0), serving(scripts) as running, on_core(1):
            for contender, port in running.values():
                put_load(contender, port, CONNECTIONS[0])  # warms it up
            for connections in CONNECTIONS:
                contenders = {
                    name: partial(put_load, contender, port, connections)
                    for name, (contender, port) in running.items()
                }
                loads = interleave(contenders, rounds=TURNS, warmup=0)
                for name in scripts:
                    found[name][connections] += loads[name]
    for connections in CONNECTIONS:
        label = f"{connections} connections, {loop}"
        ours, theirs = found["sparts"][connections], found["uvicorn"][connections]
        report.ratio(
            f"requests/s, {label}",
            [load.per_second for load in ours],
            [load.per_second for load in theirs],
            peer="uvicorn",
            at_least=0.95,
            unit="/s",
        )
        report.ratio(
            f"p99, {label}",
            [load.p99 for load in ours],
            [load.p99 for load in theirs],
            peer="uvicorn",
            at_most=1.05,
            unit="ms",
        )


def measure_peers(report: Report) -> None:
    """Tell what other servers serve, for the reader: nothing is demanded of the ratio."""
    scripts = {"sparts": [str(SCRIPTS / "on_sparts.py"), "--uvloop"]}
    scripts |= {name: [str(SCRIPTS / "peers.py"), name] for name in PEERS}
    scripts["tornado"] = [str(TORNADO), "--uvloop"]
    with on_core(0), serving(scripts) as running, on_core(1):
        contenders = {
            name: partial(put_load, contender, port, CONNECTIONS[0])
            for name, (contender, port) in running.items()
        }
        loads = interleave(contenders, rounds=TURNS, warmup=1)
    for name in PEERS:
        report.ratio(
            f"requests/s beside {name}, {CONNECTIONS[0]} connections",
            [load.per_second for load in loads["sparts"]],
            [load.per_second for load in loads[name]],
            peer=name,
            unit="/s",
        )


def measure_metering(report: Report) -> None:
    """Tell what the metering of a request costs alone: it is the core's, for every server."""
    from sparts.logs import log_fields
    from sparts.net.metering import Metered, RequestFields
    from sparts.testing import running, service_of
    from sparts.vtask import VTask

    headers = [(b"host", b"localhost")]
    body: dict[str, Any] = {"__doc__": "Meters.", "LOOPLESS": True}
    with running(service_of(type("Metering", (Metered, VTask), body))) as service:
        meter = service.requireTask("Metering").meter

        def request() -> None:
            meter.begin()
            began = perf_counter()
            log_fields.set(RequestFields(headers))
            meter.end(2, began)
            meter.logs(2)

        number = 100_000
        seconds = timeit.repeat(request, number=number, repeat=10)
    report.value(
        "metering of a request, alone",
        [each / number * 1e6 for each in seconds],
        unit="us",
        at_most=2.0,
    )


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing. Install it: apt-get install wrk")
    with Report("asgi", packages=("sparts-asgi", "uvicorn", "uvloop")) as report:
        measure_metering(report)
        measure_load(report, "asyncio")
        measure_load(report, "uvloop", "--uvloop")
        measure_peers(report)
