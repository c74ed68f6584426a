"""The examples of the queue tasks and of SelectTask, run as their users run them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess, idle_switches

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(name: str, folder: Path) -> ServiceProcess:
    """Start an example."""
    return ServiceProcess([sys.executable, str(EXAMPLES / name)], cwd=folder)


def test_queue_example_retries_and_ends_in_order(tmp_path: Path) -> None:
    wanted = {
        "fetched flaky.example at attempt 2",
        "to look at by hand: dead.example",
        "front page: 13 bytes",
        "all pages: 90 bytes",
    }
    with start("queue_task.py", tmp_path) as service:
        while any(words not in service.output for words in wanted):
            service.read_until("fetched|by hand|bytes")
        assert service.stop(signal.SIGTERM) == 0


def test_priority_example_does_the_urgent_job_first(tmp_path: Path) -> None:
    with start("priority_queue_task.py", tmp_path) as service:
        jobs = [service.read_until("did (.*)")[1] for _ in range(3)]
        assert jobs == ["put out fire", "tidy up", "write report"]
        assert service.stop(signal.SIGTERM) == 0


def test_unique_example_renders_each_document_once(tmp_path: Path) -> None:
    with start("unique_queue_task.py", tmp_path) as service:
        service.read_until("renders end")
        assert service.stop(signal.SIGTERM) == 0
    assert service.output.count("renders start") == 1
    assert "all got <h1>start</h1>" in service.output


def test_select_example_runs_programs_and_reads_a_socket(tmp_path: Path) -> None:
    wanted = {
        "sorted: ['apple', 'pear']",
        "ls ended with status 2",
        "seq says ['1', '2', '3']",
        "seq ended with status 0",
        "read hello",
    }
    with start("select_task.py", tmp_path) as service:
        while any(words not in service.output for words in wanted):
            service.read_until("sorted|ended with|says|read")
        assert service.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("name", "words"),
    [("priority_queue_task.py", "write report"), ("unique_queue_task.py", "renders end")],
)
def test_idle_queue_does_not_wake_up(name: str, words: str, tmp_path: Path) -> None:
    with start(name, tmp_path) as service:
        service.read_until(words)
        assert idle_switches(service.process.pid, 1.0) == 0
        assert service.stop(signal.SIGTERM) == 0
