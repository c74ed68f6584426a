"""Under load nothing fails: not during a stop with a drain, nor during restarts."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from pathlib import Path

from sparts.testing.running import make_service

from tests.processes import ServiceProcess
from tests.tornado.http_services import WAIT, Service, ask, port_of

ROOT = Path(__file__).parents[2]
SCRIPT = "from tests.tornado.http_services import Service; Service.initFromCLI()"
REQUESTS: list[tuple[str, str, bytes]] = [
    ("GET", "/", b""),
    ("GET", "/echo/x", b""),
    ("GET", "/slow", b""),
    ("POST", "/echo/", b"x" * 100_000),
    ("POST", "/upload", b"x" * 100_000),
]


class Load:
    """Clients that ask until they must stop, each request over a kept connection or a new
    one; what fails is noted.
    """

    def __init__(self, port: int, keeping: int, fresh: int) -> None:
        self.port = port
        self.enough = threading.Event()
        self.answers: list[int] = []
        self.failures: list[object] = []
        kinds = [True] * keeping + [False] * fresh
        self.threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in kinds]

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WAIT)

    def _ask(self, kept: bool) -> None:
        try:
            client = self._connect()
            number = 0
            while not self.enough.is_set():
                method, path, body = REQUESTS[number % len(REQUESTS)]
                number += 1
                status, headers, _ = ask(client, path, method, body)
                self.answers.append(status)
                if headers.get("connection") == "close" or not kept:
                    client.close()
                    client = self._connect() if not self.enough.is_set() else client
            client.close()
        except Exception as error:
            self.failures.append(error)

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        for thread in self.threads:
            thread.join(WAIT)


def test_no_request_fails_in_stop_with_drain_time() -> None:
    """The clients stop a little after /readyz says 503, as a load balancer has them do."""
    command = [sys.executable, "-c", SCRIPT, "--http-port", "0", "--drain-time", "50s"]
    command += ["--stop-timeout", "60s"]
    with ServiceProcess(command, cwd=ROOT) as process:
        port = process.listening_port("Http")
        process.read_until_started()
        with Load(port, keeping=6, fresh=2) as load:
            watcher = socket.create_connection(("127.0.0.1", port), WAIT)
            assert ask(watcher, "/readyz")[0] == 200
            while len(load.answers) < 100:
                assert ask(watcher, "/readyz")[0] == 200
            process.process.send_signal(signal.SIGTERM)
            while ask(watcher, "/readyz")[0] == 200:
                pass
            enough = len(load.answers) + 50
            while len(load.answers) < enough and not load.failures:
                assert ask(watcher, "/readyz")[0] == 503
        watcher.close()
        process.process.send_signal(signal.SIGINT)  # the rest of the drain is not waited for
        assert process.finish() == 0
        assert "cut off" not in process.output
    assert load.failures == []
    assert set(load.answers) == {200}


def test_no_request_fails_in_restarts_under_load() -> None:
    thread = make_service(Service).startBG()
    with Load(port_of(thread.service), keeping=6, fresh=2) as load:
        for _ in range(50):
            enough = len(load.answers) + 5
            while len(load.answers) < enough and not load.failures:
                thread.service.wait_ready(WAIT)
            instance = thread.service
            instance.restart()
            instance.join(WAIT)
        thread.service.wait_ready(WAIT)
    thread.service.shutdown()
    thread.join(WAIT)
    assert load.failures == []
    assert set(load.answers) == {200}
    assert len(load.answers) > 200
