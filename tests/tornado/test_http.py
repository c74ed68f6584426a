"""TornadoHTTPTask: the examples as real processes, and what a service promises of its ports."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import StartError, UsageError
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import make_service, running, service_of
from sparts.vtask import SkipTask
from tornado.web import RequestHandler

from tests.processes import ServiceProcess
from tests.tornado.status_clients import Client

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.needs("curl")
@pytest.mark.parametrize("example", ["http_by_class.py", "http_by_name.py"])
def test_http_example_answers_curl(example: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / example), "--http-port", "0"]
    with ServiceProcess(command, cwd=tmp_path) as service:
        port = service.listening_port("TornadoHTTPTask")
        service.read_until_started()
        answer = subprocess.check_output(["curl", "-s", f"localhost:{port}"])
        assert answer == b"Hello, world"
        assert service.stop() == 0
    assert re.fullmatch(
        rf"INFO:MyService\.TornadoHTTPTask:TornadoHTTPTask Server Started on 0\.0\.0\.0:{port}",
        service.lines[0],
    )
    assert service.lines[1:] == [
        f"INFO:MyService.TornadoHTTPTask:TornadoHTTPTask Server Started on [::]:{port}",
        "DEBUG:MyService:All tasks started",
        "INFO:MyService:KeyboardInterrupt Received!  Stopping Tasks...",
        "INFO:MyService:Instance shut down gracefully",
    ]


def test_start_that_fails_closes_what_it_had_opened() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = socket.create_server(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        argv = ["--http-host", "127.0.0.1", "--http-port", str(port)]
        argv += ["--admin-host", "127.0.0.1", "--admin-port", str(taken.getsockname()[1])]
        with pytest.raises(StartError, match="--admin-port: .* is in use"):
            make_service(service_of("TornadoHTTPTask", "admin=TornadoHTTPTask"), *argv).startBG()
        with pytest.raises(ConnectionRefusedError):
            Client(port).ask("/")


def test_server_that_skips_itself_listens_no_more() -> None:
    class Skips(TornadoHTTPTask):
        DEFAULT_HOST = "127.0.0.1"

        def initTask(self) -> None:  # noqa: N802
            (sock,) = self.service.listeners.duplicates(self.name)
            ports.append(sock.getsockname()[1])
            sock.close()
            raise SkipTask

    ports: list[int] = []
    with running(service_of(Skips)), pytest.raises(ConnectionRefusedError):
        Client(ports[0]).ask("/")


def test_server_and_addresses_are_there_in_inittask() -> None:
    class Early(TornadoHTTPTask):
        def initTask(self) -> None:  # noqa: N802
            super().initTask()
            self.early = (self.server, self.app, list(self.bound_addrs), self.bound_v4_addrs)

    with running(service_of(Early)) as service:
        task = service.requireTask(Early)
        assert task.early == (task.server, task.application, task.bound_addrs, task.bound_v4_addrs)


@pytest.mark.parametrize("routes", [None, ("/", RequestHandler)], ids=["none", "one route"])
def test_routes_that_are_no_list_are_refused(routes: Any) -> None:
    class Web(TornadoHTTPTask):
        def getApplicationConfig(self) -> Any:  # noqa: N802
            return routes

    service = make_service(service_of(Web), "--http-port", "0")
    with pytest.raises(UsageError, match=r"Web.getApplicationConfig \(.*must return a list of"):
        service.startBG()
