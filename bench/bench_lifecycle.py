"""From spawn to ready, from SIGTERM to the end, and wake-ups at rest: a service that does nothing.

It is the first example, against a process that waits on a bare event, cotyledon and aiomisc. All
of them run in one environment of wheels, such as a user has, and not in the editable checkout.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from sparts.testing.processes import ServiceProcess

from bench.harness import Report, interleave
from bench.installed import make_environment
from bench.processes import live_once, wakeups

SCRIPTS = Path(__file__).with_name("lifecycle")
PEERS = {"threading.Event": "bare_event", "cotyledon": "on_cotyledon", "aiomisc": "on_aiomisc"}
IDLE = 10.0
#: What is installed: uvicorn as sparts-asgi needs it, with uvloop and httptools.
PACKAGES = ("sparts-core", "sparts-net", "sparts-tornado", "cotyledon", "aiomisc",
            "uvicorn[standard]")  # fmt: skip
RELOADED = """
from sparts.vservice import VService

class MyService(VService):
    TASKS = ["TornadoHTTPTask"]

MyService.initFromCLI()
"""


def measure_lives(report: Report, python: str) -> None:
    """Compare the times of whole lives."""
    scripts = {"sparts": "on_sparts", **PEERS}
    contenders = {
        name: partial(live_once, SCRIPTS / f"{script}.py", python)
        for name, script in scripts.items()
    }
    lives = interleave(contenders, rounds=21, warmup=2)
    ready = {name: [life.ready for life in found] for name, found in lives.items()}
    gone = {name: [life.exit for life in found] for name, found in lives.items()}
    for peer in PEERS:
        limit = 0.8 if peer == "cotyledon" else None
        report.ratio("spawn to ready", ready["sparts"], ready[peer], peer=peer, at_most=limit)
        report.ratio("SIGTERM to exit", gone["sparts"], gone[peer], peer=peer, at_most=limit)
    for name, found in lives.items():
        ends = [life.end * 1e3 for life in found]
        limit = 2.0 if name == "sparts" else None
        report.value(f"SIGTERM to the service's end, {name}", ends, unit="ms", at_most=limit)


def measure_http(report: Report, python: str) -> None:
    """Compare how soon an HTTP service is ready."""
    scripts = {"sparts": "on_sparts", "Tornado": "on_tornado", "uvicorn": "on_uvicorn"}
    contenders = {
        name: partial(live_once, SCRIPTS / f"http_{script}.py", python)
        for name, script in scripts.items()
    }
    lives = interleave(contenders, rounds=41, warmup=2)  # with 15, runs differed by a tenth
    ready = {name: [life.ready for life in found] for name, found in lives.items()}
    for peer, limit in (("Tornado", 1.2), ("uvicorn", 0.9)):
        label = "spawn to ready, an HTTP service by name"
        report.ratio(label, ready["sparts"], ready[peer], peer=peer, at_most=limit)


def measure_rest(report: Report, python: str) -> None:
    """Count what wakes up in ten seconds at rest, all contenders at the same time."""
    scripts = {"sparts": "on_sparts", **PEERS}
    with ThreadPoolExecutor(len(scripts)) as pool:
        counting = {
            name: pool.submit(wakeups, SCRIPTS / f"{script}.py", IDLE, python)
            for name, script in scripts.items()
        }
        for name, future in counting.items():
            limit = 0 if name == "sparts" else None
            label = f"wake-ups in {IDLE:g} s at rest, {name}"
            report.value(label, [future.result()], unit="switches", at_most=limit)


def measure_reload(report: Report) -> None:
    """Time how soon an HTTP service under ``--reload`` is ready with a changed source file."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        script = Path(name, "service.py")
        script.write_text(RELOADED)
        words = [sys.executable, script.name, "--reload", "--http-port", "0"]
        variables = {**os.environ, "SPARTS_DISABLE_PLUGINS": "otel"}
        with ServiceProcess(words, cwd=script.parent, env=variables) as service:
            service.wait_for_line("All tasks started")
            for number in range(2, 17):
                script.write_text(f"{RELOADED}# {number}\n")
                changed = time.monotonic()
                service.wait_for_line("All tasks started", number)
                times.append((time.monotonic() - changed) * 1e3)
            service.stop()
    label = "changed source file to ready again, an HTTP service with --reload"
    report.value(label, times, unit="ms", at_most=500.0)


def main() -> None:
    """Measure all of it."""
    os.environ.pop("SPARTS_DISABLE_PLUGINS", None)  # none is installed that a user had to disable
    with tempfile.TemporaryDirectory() as name, Report("lifecycle") as report:
        python = make_environment(Path(name), PACKAGES)
        measure_lives(report, python)
        measure_http(report, python)
        measure_reload(report)
        measure_rest(report, python)


if __name__ == "__main__":
    main()
