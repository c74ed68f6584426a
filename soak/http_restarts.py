"""50,000 requests over restarts and a drained stop, of which none may fail, by ASGI or Tornado.

    python -m soak.http_restarts [asgi|tornado] [--requests 50000] [--clients 8] [--every 5]

The service restarts every so many seconds, five times at least. After the requests it is stopped
with a drain: the clients go on until ``/readyz`` says 503, as a load balancer does. Half of them
keep their connections, half open one for each request. Nothing is tried again, so that a connection
that ends without an answer is a failure. Ends with 1 if any request has failed.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sparts.tasks.asgi import AsgiTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.testing.processes import ServiceProcess
from sparts.vservice import VService
from tornado.web import RequestHandler

ROOT = Path(__file__).resolve().parents[1]
HELLO, RESTART = b"hello", "/restart"
RESTARTS = 5
"""How many there are at least."""


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Say hello, and restart the service if the path asks for it."""
    if scope["type"] != "http":
        raise ValueError("only HTTP is served here")
    if scope["path"] == RESTART:
        scope["sparts.service"].restart()
    length = (b"content-length", b"%d" % len(HELLO))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": HELLO})


class Asgi(AsgiTask):
    """Serves it."""

    DEFAULT_HOST = "127.0.0.1"
    APP = app


class Hello(RequestHandler):
    """The same."""

    def initialize(self, service: VService) -> None:
        """Take the service."""
        self.service = service

    def get(self) -> None:
        """Answer."""
        if self.request.path == RESTART:
            self.service.restart()
        self.write(HELLO)


class Tornado(TornadoHTTPTask):
    """Serves it."""

    DEFAULT_HOST = "127.0.0.1"
    OPT_PREFIX = "tornado"

    def getApplicationConfig(self) -> Any:  # noqa: N802 - the established name
        """Return the one handler."""
        return [("/.*", Hello, {"service": self.service})]


class Status(StatusHTTPTask):
    """Says whether the service is ready."""

    DEFAULT_HOST = "127.0.0.1"


class Restarting(VService):
    """Serves by both."""

    TASKS = (Status, Asgi, Tornado)


@contextlib.contextmanager
def serving(drain: float) -> Iterator[ServiceProcess]:
    """Run the service, on free ports."""
    command = [sys.executable, "-m", "soak.http_restarts", "serve", "--drain-time", str(drain)]
    command += [f"--{prefix}-port=0" for prefix in ("asgi", "tornado", "status")]
    with ServiceProcess(command, cwd=ROOT) as process:
        process.wait_ready()
        yield process


class Load:
    """Clients that ask until they must end."""

    def __init__(self, port: int) -> None:
        self.answered = 0
        self.failed: Counter[str] = Counter()
        self.over = threading.Event()
        self._port, self._lock = port, threading.Lock()

    def run(self, keeps: bool) -> None:
        """Be one client."""
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self.over.is_set():
            try:
                found = ask(client, "/hello")
                problem = "" if found == (200, HELLO) else repr(found)
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
            with self._lock:
                if problem:
                    self.failed[problem] += 1
                else:
                    self.answered += 1
            if problem or not keeps:
                client.close()
        client.close()


def ask(client: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    """Ask once; return status and body."""
    client.request("GET", path)
    response = client.getresponse()
    return response.status, response.read()


class Found(NamedTuple):
    """What came of the requests."""

    answered: int
    failed: Counter[str]
    restarts: int
    status: int


def run(server: str, requests: int, clients: int, every: float, drain: float = 2.0) -> Found:
    """Ask while the service restarts, and while it stops."""
    with serving(drain) as process:
        load = Load(process.wait_for_port(server.title()))
        status_port = process.wait_for_port("Status")
        threads = [
            threading.Thread(target=load.run, args=(bool(number % 2),)) for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        restarts = 0
        while (load.answered < requests or restarts < RESTARTS) and not process.ended:
            time.sleep(every)
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", load._port)) as web:
                ask(web, RESTART)
            restarts += 1
            process.wait_for_line("All tasks started", 1 + restarts, 60)
        process.send(signal.SIGTERM)
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", status_port)) as web:
            while ask(web, "/readyz")[0] != 503:
                time.sleep(0.01)
        load.over.set()
        for thread in threads:
            thread.join()
        return Found(load.answered, load.failed, restarts, process.wait(60))


def main() -> int:
    """Do as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("server", nargs="?", choices=["asgi", "tornado"], default="asgi")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two restarts")
    wanted = parser.parse_args()
    began = time.monotonic()
    found = run(wanted.server, wanted.requests, wanted.clients, wanted.every)
    print(
        f"{wanted.server}: {found.answered:,} requests were answered in "
        f"{time.monotonic() - began:.0f} s, during {found.restarts} restarts and a drained stop; "
        f"failed: {dict(found.failed) or 0}; status {found.status}"
    )
    return 1 if found.failed or found.status else 0


if __name__ == "__main__":
    if "serve" in sys.argv[1:2]:
        del sys.argv[1]
        Restarting.initFromCLI()
    else:
        sys.exit(main())
