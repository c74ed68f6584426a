"""The examples of the asyncio tasks, and what is promised of their processes."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess

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
