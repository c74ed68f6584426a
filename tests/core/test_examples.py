"""The examples of the core, run as their users run them."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import LONG, ServiceProcess, idle_switches

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def example(
    name: str, folder: Path, *argv: str, number: signal.Signals = signal.SIGTERM
) -> Iterator[ServiceProcess]:
    """Run an example in a folder, and stop it in order."""
    with ServiceProcess([sys.executable, str(EXAMPLES / name), *argv], cwd=folder) as service:
        yield service
        assert service.stop(number) == 0
    assert service.lines[-1].endswith("Service:Instance shut down gracefully")


SAID = {
    "async_periodic.py": [r"INFO:MyService\.Heartbeat:beat 1$"],
    "async_periodic.py --Heartbeat-interval 10ms": [r"INFO:MyService\.Heartbeat:beat 5$"],
    "async_queue.py": ["MyService.Crawl:fetched 100, the last is page 99"],
    "async_queue.py --Fetch-workers 1": ["fetched 100, the last is page 99"],
    "asyncio_loop.py": [r"MyService\.LookUp:localhost is (127\.0\.0\.1|::1)"],
    "asyncio_loop.py --asyncio-uvloop": [r"localhost is (127\.0\.0\.1|::1)"],
    "counters.py --Reporter-interval 100ms": [
        r"INFO:CounterService.Reporter:Mailer.sent = \d",
        r'Mailer.by_outcome{outcome="delivered"} = \d',
        r"Mailer.size.avg.60 = \d",
        r"Mailer.size.p99.60 = \d",
        r"Mailer.backlog = \d",
        r"Mailer.per_failure = \d",
    ],
    "cron.py --Report-cron *_*_*_*_*_*": ["INFO:CronService.Report:report written"],
    "periodic.py --Heartbeat-interval 10ms": [
        rf"INFO:PeriodicService.Heartbeat:beat {number}$" for number in range(1, 6)
    ],
    "poller.py": [
        r"INFO:PollerService.Load:load is \d+\.\d+, was None",
        "INFO:PollerService.Reporter:(busy|idle)",
    ],
    "queue_task.py": [
        "fetched flaky.example at attempt 2",
        "to look at by hand: dead.example",
        "front page: 13 bytes",
        "all pages: 90 bytes",
    ],
    "select_task.py": [
        r"sorted: \['apple', 'pear'\]",
        "ls ended with status 2",
        r"seq says \['1', '2', '3'\]",
        "seq ended with status 0",
        "read hello",
    ],
}
"""What each command says, in any order."""
RUNS = [(command, signal.SIGTERM) for command in SAID]
RUNS += [(command, signal.SIGINT) for command in SAID if command.startswith("async")]


@pytest.mark.parametrize(("command", "number"), RUNS)
def test_example_does_its_work_and_ends_in_order(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    name, *argv = (word.replace("_*", " *") for word in command.split())
    with example(name, tmp_path, *argv, number=number) as service:
        for line in SAID[command]:
            service.wait_for_line(line, timeout=LONG)
    assert "Traceback" not in service.output


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SIGTERM")]
)
def test_simple_service_logs_the_promised_lines(
    number: signal.Signals, said: str, tmp_path: Path
) -> None:
    with example("simple.py", tmp_path, number=number) as service:
        service.read_until_started()
    assert service.lines == [
        "DEBUG:MyService:All tasks started",
        f"INFO:MyService:{said} Received!  Stopping Tasks...",
        "INFO:MyService:Instance shut down gracefully",
    ]


def test_event_example_works_when_it_gets_a_signal(tmp_path: Path) -> None:
    with example("event.py", tmp_path) as service:
        service.read_until_started()
        for number in (1, 2):
            service.send(signal.SIGHUP)
            service.read_until(rf"INFO:EventService.Rebuild:rebuilt {number} times")


@pytest.mark.parametrize("way", [(), ("--Inbox-poll",)])
def test_watcher_example_tells_of_files(tmp_path: Path, way: tuple[str, ...]) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "first").write_text("1")
    with example("directory_watcher.py", tmp_path, "--Inbox-interval", "20ms", *way) as service:
        service.read_until("first is here, 1 bytes")
        (tmp_path / "scratch").write_text("22")
        (tmp_path / "scratch").replace(inbox / "second")
        service.read_until("second is here, 2 bytes")
        with (inbox / "second").open("a") as file:
            file.write("333")
        service.read_until("second has 5 bytes now")
        (inbox / "second").unlink()
        service.read_until("second is gone")


def test_priority_example_does_urgent_job_first_and_rests(tmp_path: Path) -> None:
    with example("priority_queue_task.py", tmp_path) as service:
        jobs = [service.read_until("did (.*)")[1] for _ in range(3)]
        assert jobs == ["put out fire", "tidy up", "write report"]
        assert idle_switches(service.pid, 1.0) == 0


def test_unique_example_renders_each_once_and_rests(tmp_path: Path) -> None:
    with example("unique_queue_task.py", tmp_path) as service:
        service.read_until("renders end")
        assert idle_switches(service.pid, 1.0) == 0
    assert service.output.count("renders start") == 1
    assert "all got <h1>start</h1>" in service.output


def test_echo_server_serves_and_ends_with_client_connected(tmp_path: Path) -> None:
    with example("asyncio_server.py", tmp_path, "--echo-port", "0") as service:
        client = socket.create_connection(("127.0.0.1", service.listening_port("Echo")))
        client.sendall(b"hello\n")
        with client.makefile("rb") as lines:
            assert lines.readline() == b"hello\n"
    client.close()
    assert "ERROR" not in service.output


def test_echo_server_restarts_while_its_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with example("asyncio_server.py", tmp_path, "--echo-port", str(port)) as service:
            service.read_until(r"ERROR:MyService.Echo:Echo failed: OSError: .*; restarted in 0\.")
            taken.close()
            service.read_until(rf"Echo Server Started on 127\.0\.0\.1:{port}")
