"""The examples of the asyncio tasks, and what is promised of their processes."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess, run_to_end

EXAMPLES = Path(__file__).parents[2] / "examples"


def command(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(EXAMPLES / name), *arguments]


def echo(port: int) -> socket.socket:
    """Have a line echoed, and return the connection."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"hello\n")
    with client.makefile("rb") as lines:
        assert lines.readline() == b"hello\n"
    return client


@pytest.mark.parametrize(
    ("name", "arguments", "line"),
    [
        ("asyncio_loop.py", (), r"MyService\.LookUp:localhost is (127\.0\.0\.1|::1)"),
        ("asyncio_loop.py", ("--asyncio-uvloop",), r"localhost is (127\.0\.0\.1|::1)"),
        ("async_periodic.py", (), r"MyService\.Heartbeat:beat 1"),
        ("async_periodic.py", ("--Heartbeat-interval", "10ms"), r"MyService\.Heartbeat:beat 5"),
        ("async_queue.py", (), "MyService.Crawl:fetched 100, the last is page 99"),
        ("async_queue.py", ("--Fetch-workers", "1"), "fetched 100, the last is page 99"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_example_does_its_work_and_ends_in_order(
    name: str, arguments: tuple[str, ...], line: str, number: signal.Signals, tmp_path: Path
) -> None:
    with ServiceProcess(command(name, *arguments), cwd=tmp_path) as service:
        service.read_until(line)
        assert service.stop(number) == 0
    assert service.lines[-1] == "INFO:MyService:Instance shut down gracefully"
    assert "Traceback" not in service.output


def test_echo_server_serves_and_ends_with_client_connected(tmp_path: Path) -> None:
    server = command("asyncio_server.py", "--echo-port", "0")
    with (
        ServiceProcess(server, cwd=tmp_path) as service,
        echo(service.listening_port("Echo")),
    ):
        assert service.stop(signal.SIGTERM) == 0
    assert "ERROR" not in service.output


def test_echo_server_restarts_while_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = command("asyncio_server.py", "--echo-port", str(port))
        with ServiceProcess(server, cwd=tmp_path) as service:
            service.read_until(r"ERROR:MyService.Echo:Echo failed: OSError: .*; restarted in 0\.")
            taken.close()
            service.read_until(rf"Echo Server Started on 127\.0\.0\.1:{port}")
            assert service.stop() == 0


@pytest.mark.parametrize("name", ["asyncio_server.py", "async_periodic.py", "async_queue.py"])
def test_help_shows_options_of_loop_that_comes_along(name: str, tmp_path: Path) -> None:
    status, output = run_to_end(command(name, "--help-all"), cwd=tmp_path)
    assert status == 0
    assert "--asyncio-slow-callback" in output
    assert "--asyncio-uvloop" in output


BY_NAME = """
from sparts.vservice import VService
class ByName(VService):
    TASKS = ["AsyncioLoopTask", "first=AsyncioTask", "AsyncPeriodicTask", "AsyncQueueTask"]
ByName.initFromCLI()
"""


def test_each_is_found_by_name(tmp_path: Path) -> None:
    status, output = run_to_end([sys.executable, "-c", BY_NAME, "--help-all"], cwd=tmp_path)
    assert status == 0
    for flag in ("--AsyncPeriodicTask-interval", "--AsyncQueueTask-workers", "--asyncio-uvloop"):
        assert flag in output


STUBBORN = """
import asyncio, sys
from sparts.tasks.asyncio import AsyncioTask
from sparts.vservice import VService
class Stubborn(AsyncioTask):
    async def run(self):
        sys.stdout.write("runs\\n")  # one write: lines stay whole
        while True:
            try:
                await self.hang()
            except asyncio.CancelledError:
                pass
    async def hang(self):
        await asyncio.Event().wait()
class MyService(VService):
    TASKS = [Stubborn]
MyService.initFromCLI()
"""


def test_coroutine_that_ignores_cancellation_ends_with_70(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUBBORN, "--stop-timeout", "300ms"]
    with ServiceProcess(command, cwd=tmp_path) as service:
        for _ in range(2):  # in either order
            service.read_until("^runs|All tasks started")
        assert service.stop(signal.SIGTERM) == 70
    assert "Stubborn" in service.output
    assert "in hang" in service.output


def test_sigusr1_shows_where_the_coroutines_are(tmp_path: Path) -> None:
    with ServiceProcess(command("asyncio_server.py", "--echo-port", "0"), cwd=tmp_path) as service:
        with echo(service.listening_port("Echo")):  # so the coroutine has got to where it waits
            service.process.send_signal(signal.SIGUSR1)
        service.read_until("Coroutine MyService.Echo")
        service.read_until("in run")
        assert service.stop() == 0
