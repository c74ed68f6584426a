"""Two processes behind one port against one, and beside gunicorn with two workers.

wrk is Debian's package of that name. It runs on the same cores, and does next to nothing where a
request computes.
"""

from __future__ import annotations

import contextlib
import hashlib
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

from bench.harness import Report, interleave

SCRIPTS = Path(__file__).with_name("many")
SECONDS = 2
CONNECTIONS = 16
ROUNDS = 5
COMPUTING = 0.01
"""Seconds of computing for a request."""
ONE = ("web.py", "--http-port", "{port}", "--level", "WARNING")
COMMANDS = {
    "one": (sys.executable, *ONE),
    "sparts": (sys.executable, *ONE, "--processes", "2"),
    "gunicorn": (
        *(sys.executable, "-m", "gunicorn", "-w", "2", "-k", "tornado", "web:app"),
        *("-b", "127.0.0.1:{port}", "--log-level", "error"),
    ),
    "sparts, asgi": (
        *(sys.executable, "asgi.py", "--http-port", "{port}", "--level", "WARNING"),
        *("--asyncio-uvloop", "--processes", "2"),
    ),
    "gunicorn, asgi": (
        *(sys.executable, "-m", "gunicorn", "-w", "2", "-k", "uvicorn.workers.UvicornWorker"),
        *("asgi:app", "-b", "127.0.0.1:{port}", "--log-level", "error"),
    ),
}


def rounds_of(seconds: float) -> int:
    """Find how many rounds of hashing take about so long."""
    began = time.perf_counter()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000)
    return max(1000, int(100_000 * seconds / (time.perf_counter() - began)))


@contextlib.contextmanager
def serving(name: str, environment: dict[str, str]) -> Iterator[int]:
    """Run a server; give its port when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [word.format(port=port) for word in COMMANDS[name]]
    server = subprocess.Popen(command, cwd=SCRIPTS, env={**os.environ, **environment})
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait()


def ask(port: int, path: str) -> float:
    """Return the requests a second that were answered; RuntimeError: some were not."""
    command = [
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{SECONDS}s",
        "--timeout",
        "20s",
        f"http://127.0.0.1:{port}{path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", done)
    if found is None or "Socket errors" in done or "Non-2xx" in done:
        raise RuntimeError(done)
    return float(found[1])


def measure(path: str, *names: str) -> dict[str, list[float]]:
    """Return the requests a second of servers, which are asked in turns."""
    environment = {"BENCH_ROUNDS": str(rounds_of(COMPUTING))}
    with contextlib.ExitStack() as stack:
        ports = {name: stack.enter_context(serving(name, environment)) for name in names}
        asking = {name: partial(ask, port, path) for name, port in ports.items()}
        return interleave(asking, rounds=ROUNDS, warmup=1)


def main() -> None:
    """Measure, round by round."""
    packages = ["sparts-tornado", "sparts-asgi", "tornado", "gunicorn", "uvicorn", "uvloop"]
    with Report("processes", packages=packages) as report:
        note = f"10 ms of computing a request, {CONNECTIONS} connections, {os.cpu_count()} cores"
        found = measure("/work", "one", "sparts", "gunicorn")
        report.ratio(
            "two processes on two cores",
            found["sparts"],
            found["one"],
            peer="one process",
            at_least=1.8,
            unit="requests/s",
            note=note,
        )
        report.ratio(
            "two processes, computing",
            found["sparts"],
            found["gunicorn"],
            peer="gunicorn with 2 workers for Tornado",
            at_least=1.0,
            unit="requests/s",
            note=note,
        )
        found = measure("/", "sparts", "gunicorn")
        report.ratio(
            "two processes, hello world",
            found["sparts"],
            found["gunicorn"],
            peer="gunicorn with 2 workers for Tornado",
            at_least=1.0,
            unit="requests/s",
        )
        found = measure("/", "sparts, asgi", "gunicorn, asgi")
        report.ratio(
            "two processes, ASGI",
            found["sparts, asgi"],
            found["gunicorn, asgi"],
            peer="gunicorn with 2 workers of uvicorn",
            at_least=1.0,
            unit="requests/s",
        )


if __name__ == "__main__":
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing. Install it: apt-get install wrk")
    main()
