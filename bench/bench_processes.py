"""Two processes behind one port against one: requests a second where each costs some computing.

The clients run in this process and do next to nothing, so that the processes get the cores.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bench.harness import Report, interleave
from tests.processes import ServiceProcess

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 3.0
CLIENTS = 16
WEB = """
import hashlib
import tornado.web
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService

class Work(tornado.web.RequestHandler):
    def get(self):
        self.write(hashlib.pbkdf2_hmac("sha256", b"x", b"y", ROUNDS).hex())

class Web(TornadoHTTPTask):
    OPT_PREFIX = "http"
    def getApplicationConfig(self):
        return [("/", Work)]

class Service(VService):
    TASKS = [Web]

Service.initFromCLI()
"""


def rounds_of(seconds: float) -> int:
    """Find how many rounds of hashing take about so long."""
    began = time.perf_counter()
    hashlib.pbkdf2_hmac("sha256", b"x", b"y", 100_000)
    return max(1000, int(100_000 * seconds / (time.perf_counter() - began)))


def count_requests(copies: int, folder: str) -> Callable[[], float]:
    """Give a function that measures the requests a second that so many copies answer."""

    def run() -> float:
        import http.client

        example = str(ROOT / "examples" / "rolling.py")
        command = [sys.executable, example, str(copies), "0", sys.executable, "web.py"]
        answered = [0] * CLIENTS
        with ServiceProcess([*command, "--level", "WARNING"], cwd=Path(folder)) as supervisor:
            port = int(supervisor.read_until(r"^port: (\d+)")[1])
            for _ in range(copies):
                supervisor.read_until("^ready: ")
            end = time.perf_counter() + SECONDS

            def ask(number: int) -> None:
                while time.perf_counter() < end:
                    connection = http.client.HTTPConnection("127.0.0.1", port)
                    connection.request("GET", "/", headers={"Connection": "close"})
                    connection.getresponse().read()
                    connection.close()
                    answered[number] += 1

            threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
            began = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            elapsed = time.perf_counter() - began
            if status := supervisor.stop(signal.SIGTERM):
                raise RuntimeError(f"ended with {status}: {supervisor.output}")
        return sum(answered) / elapsed

    return run


def main() -> None:
    """Measure one and two, round by round."""
    with Report("processes", packages=["sparts-tornado", "tornado"]) as report:
        with tempfile.TemporaryDirectory() as folder:
            web = WEB.replace("ROUNDS", str(rounds_of(0.01)))
            Path(folder, "web.py").write_text(web, encoding="utf-8")
            contenders = {str(copies): count_requests(copies, folder) for copies in (1, 2)}
            found = interleave(contenders, rounds=5, warmup=1)
        report.ratio(
            "two processes on two cores",
            found["2"],
            found["1"],
            peer="one process",
            at_least=1.7,
            unit="requests/s",
            note=f"10 ms of computing a request, {CLIENTS} clients, {os.cpu_count()} cores",
        )


if __name__ == "__main__":
    main()
