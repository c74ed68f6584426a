"""100,000 requests to several processes during ten rolling restarts, of which none may fail.

    python -m soak.processes [--requests 100000] [--restarts 10] [--processes 2]

Half of the clients keep their connections for many requests, half open one for each. A kept
connection that the server has closed before it took a request is opened again, as HTTP has it
(RFC 9112, section 9.5); a connection that ends within an answer is a failure. Ends with 1 if any
request has failed.
"""

from __future__ import annotations

import argparse
import http.client
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

from sparts.testing.processes import ServiceProcess

WEB = """
import asyncio, os, sys
import tornado.web
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService

class Pid(tornado.web.RequestHandler):
    async def get(self):
        await asyncio.sleep(0.001)
        self.write(str(os.getpid()))

class Web(TornadoHTTPTask):
    OPT_PREFIX = "http"
    DEFAULT_HOST = "127.0.0.1"
    def getApplicationConfig(self):
        return [("/", Pid)]

class Service(VService):
    TASKS = [Web]

if __name__ == "__main__":
    Service.initFromCLI()
"""


class Web(ServiceProcess):
    """A web service that runs as several processes."""

    def __init__(self, folder: Path, processes: int, *argv: str) -> None:
        (folder / "web.py").write_text(WEB)
        words = ("--processes", str(processes), "--http-port", "0", "--level", "INFO", *argv)
        super().__init__([sys.executable, "web.py", *words], cwd=folder)
        self.wait_ready()
        self.port = self.wait_for_port("Web")


class Load:
    """Clients that ask until they must stop, or have asked so often."""

    def __init__(self, port: int, clients: int = 4, requests: float = float("inf")) -> None:
        self.pids: set[int] = set()
        """The processes that have answered."""
        self.failed: list[str] = []
        """Why requests have failed."""
        self.answered = 0
        self.reopened = 0
        """How often a kept connection was closed before it took a request."""
        self._port, self._requests = port, requests
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(bool(number % 2),), daemon=True)
            for number in range(clients)
        ]

    def _run(self, keeps: bool) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            fresh = connection is None
            connection = connection or http.client.HTTPConnection("127.0.0.1", self._port, 30)
            try:
                connection.request("GET", "/", headers={} if keeps else {"Connection": "close"})
                answer = connection.getresponse()
                pid = int(answer.read())
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError) as error:
                connection.close()
                connection = None
                with self._lock:
                    if fresh:
                        self.failed.append(repr(error))
                    else:
                        self.reopened += 1
                continue
            except Exception as error:
                with self._lock:
                    self.failed.append(repr(error))
                connection = None
                continue
            with self._lock:
                self.pids.add(pid)
                self.answered += 1
                if self.answered >= self._requests:
                    self._stop.set()
            if not keeps or answer.will_close:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def wait(self) -> None:
        """Wait until there were enough requests."""
        self._stop.wait()

    def end(self) -> None:
        """Stop, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.end()


def main() -> int:
    """Run it; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        Web(Path(folder), asked.processes) as service,
        Load(service.port, clients=8, requests=asked.requests) as load,
    ):
        for number in range(asked.restarts):
            while load.answered < asked.requests * (number + 0.5) / asked.restarts:
                time.sleep(0.05)
            service.send(signal.SIGHUP)
            service.wait_for_line("All copies are replaced", number + 1, 120)
        load.wait()
        load.end()
        status = service.stop()
        print(
            f"{load.answered} requests, {asked.restarts} rolling restarts, {len(load.pids)} "
            f"processes, {time.monotonic() - began:.0f} s: {len(load.failed)} failed; "
            f"{load.reopened} kept connections were opened again; status {status}"
        )
        print("\n".join(load.failed[:10]))
    return 1 if load.failed or status else 0


if __name__ == "__main__":
    sys.exit(main())
