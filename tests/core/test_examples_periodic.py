"""The examples of periodic, polling, event and watching tasks and of counters, as processes."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess, run_to_end

EXAMPLES = Path(__file__).parents[2] / "examples"


def start(name: str, folder: Path, *argv: str) -> ServiceProcess:
    """Run an example in a folder."""
    return ServiceProcess([sys.executable, str(EXAMPLES / name), *argv], cwd=folder)


def test_periodic_example_beats(tmp_path: Path) -> None:
    with start("periodic.py", tmp_path, "--Heartbeat-interval", "10ms") as service:
        for number in range(1, 6):
            service.read_until(rf"INFO:PeriodicService.Heartbeat:beat {number}$")
        assert service.stop(signal.SIGTERM) == 0


def test_cron_example_reports(tmp_path: Path) -> None:
    with start("cron.py", tmp_path, "--Report-cron", "* * * * * *") as service:
        service.read_until("INFO:CronService.Report:report written")
        assert service.stop(signal.SIGTERM) == 0


def test_poller_example_tells_of_the_load(tmp_path: Path) -> None:
    with start("poller.py", tmp_path) as service:
        service.read_until(r"INFO:PollerService.Load:load is \d+\.\d+, was None")
        service.read_until("INFO:PollerService.Reporter:(busy|idle)")
        assert service.stop(signal.SIGTERM) == 0


def test_event_example_works_when_it_gets_a_signal(tmp_path: Path) -> None:
    with start("event.py", tmp_path) as service:
        service.read_until_started()
        for number in (1, 2):
            service.process.send_signal(signal.SIGHUP)
            service.read_until(rf"INFO:EventService.Rebuild:rebuilt {number} times")
        assert service.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("way", ["", "--Inbox-poll"])
def test_watcher_example_tells_of_files(tmp_path: Path, way: str) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "first").write_text("1")
    argv = [*filter(None, [way]), "--Inbox-interval", "20ms"]
    with start("directory_watcher.py", tmp_path, *argv) as service:
        service.read_until("first is here, 1 bytes")
        (tmp_path / "scratch").write_text("22")
        (tmp_path / "scratch").replace(inbox / "second")
        service.read_until("second is here, 2 bytes")
        with (inbox / "second").open("a") as file:
            file.write("333")
        service.read_until("second has 5 bytes now")
        (inbox / "second").unlink()
        service.read_until("second is gone")
        assert service.stop(signal.SIGTERM) == 0


def test_counter_example_shows_every_kind(tmp_path: Path) -> None:
    with start("counters.py", tmp_path, "--Reporter-interval", "100ms") as service:
        for name in (
            "sent", r'by_outcome{outcome="delivered"}', "size.avg.60", "size.p99.60", "backlog",
            "per_failure",
        ):  # fmt: skip
            service.read_until(rf"INFO:CounterService.Reporter:Mailer.{name} = \d")
        assert service.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("PeriodicTask", "interval jitter run-at-start cron timezone"),
        ("PollerTask", "interval jitter run-at-start cron timezone"),
        ("DirectoryWatcherTask", "path poll interval"),
        ("EventTask", ""),
        ("QueueTask", "workers max-items max-attempts"),
        ("PriorityQueueTask", "workers max-items max-attempts"),
        ("UniqueQueueTask", "workers max-items max-attempts"),
        ("AsyncQueueTask", "workers"),
        ("AsyncPeriodicTask", "interval"),
        ("first=AsyncioTask", ""),
    ],
)
def test_task_found_by_name_shows_its_options(name: str, flags: str, tmp_path: Path) -> None:
    code = (
        "from sparts.vservice import VService\n"
        f"class ByName(VService):\n    TASKS = [{name!r}]\n"
        "ByName.initFromCLI()\n"
    )
    status, output = run_to_end([sys.executable, "-c", code, "--help-all"], cwd=tmp_path)
    assert status == 0
    for flag in flags.split():
        assert f"--{name}-{flag}" in output
    assert ("--asyncio-uvloop" in output) == ("Async" in name)  # its loop comes along
    assert ("--asyncio-slow-callback" in output) == ("Async" in name)
