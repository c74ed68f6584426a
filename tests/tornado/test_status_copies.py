"""The status of a service that runs as several copies: whichever is asked answers for all."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sparts.tasks.tornado.console import commands
from sparts.tasks.tornado.console.client import Client as Console
from sparts.tasks.tornado.console.client import NoAnswerError
from sparts.testing.processes import ServiceProcess

from tests.browsers import launched
from tests.core.copies import children_of
from tests.tornado.status_clients import CONTROL, Client

SERVICE = """
import os
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService

class Web(TornadoHTTPTask):
    OPT_PREFIX = "http"
    DEFAULT_HOST = "127.0.0.1"

class Once(PeriodicTask):
    PROCESSES = "first"
    INTERVAL = 3600.0
    RUN_AT_START = False
    def execute(self, context=None):
        self.logger.info("ran once")

class S(VService):
    TASKS = [Web, "StatusHTTPTask", Once]
    def initService(self):
        self.add_check("file", lambda: not os.path.exists("ill"))

S.initFromCLI()
"""


class Copies(ServiceProcess):
    """A service of two copies, with a status page."""

    def __init__(self, folder: Path) -> None:
        (folder / "service.py").write_text(SERVICE)
        words = (
            "--drain-time=100ms",
            "--processes=2",
            "--status-port=0",
            "--http-port=0",
            *CONTROL,
        )
        environment = {"SPARTS_RUNTIME_DIR": str(folder / "run")}
        command = [sys.executable, "service.py", "--level", "INFO", *words]
        super().__init__(command, cwd=folder, env=environment)
        self.wait_ready()
        self.folder = folder
        self.client = Client(self.wait_for_port("StatusHTTPTask"))

    def copy_pids(self) -> list[int]:
        """The pids of the copies, by their numbers."""
        return [each["pid"] for each in self.read("/status.json")["copies"]]

    def read(self, path: str) -> Any:
        """Return the JSON at a path."""
        return json.loads(self.client.ask(path).text)

    def console(self) -> Console:
        """Return what asks over the control socket that is announced."""
        (told,) = [json.loads(path.read_text()) for path in (self.folder / "run").glob("*.json")]
        assert told["pid"] == self.pid
        return Console(told["name"], path=told["socket"], url=told["url"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    """One for all tests of this module, none of which changes how many copies there are."""
    with Copies(tmp_path_factory.mktemp("s")) as process:
        yield process
        assert process.stop() == 0, process.output
        assert list((process.folder / "run").iterdir()) == []


def test_metrics_of_all_copies_are_scraped_once(service: Copies) -> None:
    answer = service.client.ask("/metrics")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).add(sample.labels.get("copy", ""))
    assert found["sparts_requests_total"] == {"1", "2"}
    assert found["process_cpu_seconds_total"] == {"1", "2"}
    assert 'sparts_copies{state="ready"} 2.0' in answer.text


def test_openmetrics_of_all_copies_are_valid(service: Copies) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse

    answer = service.client.ask("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert any(family.name == "sparts_requests" for family in parse(answer.text))  # type: ignore[no-untyped-call]


def test_readiness_is_that_of_all_copies(service: Copies) -> None:
    assert service.client.ask("/readyz").status == 200
    (service.folder / "ill").touch()
    try:
        answer = service.client.ask("/readyz")
    finally:
        (service.folder / "ill").unlink()
    assert answer.status == 503
    checks = json.loads(answer.text)["checks"]
    assert {name for name in checks if not checks[name]["ok"]} == {"copy 1 file", "copy 2 file"}


def test_status_describes_the_whole(service: Copies) -> None:
    told = service.read("/status.json")
    assert (told["pid"], told["ready"]) == (service.pid, True)
    assert [each["number"] for each in told["copies"]] == [1, 2]
    assert {each["pid"] for each in told["copies"]} == set(children_of(service.pid))
    assert [each["first"] for each in told["copies"]] == [True, False]
    elsewhere = [each["tasks"].get("ELSEWHERE", 0) for each in told["copies"]]
    assert elsewhere == [0, 1]


def test_stacks_are_those_of_all_copies(service: Copies) -> None:
    text = service.client.ask("/stacks").text
    assert re.findall(r"^Copy (\d)$", text, re.M) == ["1", "2"]


def test_any_copy_describes_the_task_of_another(service: Copies) -> None:
    for number in (1, 2):
        for _ in range(4):
            assert service.read(f"/task.json?name=Web&copy={number}")["name"] == "Web"
    assert service.client.ask("/task.json?name=Web&copy=9").status == 503


def test_option_is_set_in_all_copies(service: Copies) -> None:
    answer = service.client.act("option", {"name": "stop_timeout", "value": "24s"})
    assert json.loads(answer.text)["message"] == "stop_timeout is set."
    for _ in range(4):
        assert service.read("/status.json")["options"]["stop_timeout"] == 24.0
    refused = service.client.act("option", {"name": "stop_timeout", "value": "never"})
    assert refused.status == 400
    refused = service.client.act("option", {"name": "status_port", "value": 0})
    assert refused.status == 409
    assert "the parent of the copies listens" in refused.text


def test_single_task_is_run_where_it_is(service: Copies) -> None:
    assert service.client.act("run", {"task": "Once"}).status == 200
    service.wait_for_line("ran once .*copy=1")
    assert service.client.act("run", {"task": "Nothing"}).status == 404


def test_events_are_those_of_the_asked_copy(service: Copies) -> None:
    for number, pid in enumerate(service.copy_pids(), 1):
        for _ in range(3):
            with service.client.connected() as connection:
                connection.request("GET", f"/events?copy={number}")
                stream = connection.getresponse()
                data = next(
                    line[6:] for line in iter(stream.readline, b"") if line.startswith(b"data: {")
                )
                told = json.loads(data)
                assert (told["service"]["copy"], told["service"]["pid"]) == (number, pid)
                assert told["history"]["times"]
    assert service.client.ask("/events?copy=0").status == 404
    assert service.client.ask("/events?copy=x").status == 404


def test_service_is_announced_once(service: Copies) -> None:
    assert service.console().read("status.json")["pid"] == service.pid
    assert service.console().act("verify") == "The controls are yours."


def test_commands_show_and_scale_the_copies(
    service: Copies, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARTS_RUNTIME_DIR", str(service.folder / "run"))
    assert commands.status(["S"]) == 0
    shown = capsys.readouterr().out
    assert all(str(pid) in shown for pid in (service.pid, *children_of(service.pid)))
    assert commands.ps(["--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["pid"], listed["copies"], listed["ready"]) == (service.pid, 2, True)
    assert commands.scale(["S", "2"]) == 0
    assert "Copies wanted: 2." in capsys.readouterr().out
    with pytest.raises(NoAnswerError, match="number' of copies must be from 1 to 256"):
        commands.scale(["S", "0"])


def test_tail_shows_the_lines_of_all_copies(
    service: Copies, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPARTS_RUNTIME_DIR", str(service.folder / "run"))
    assert commands.tail(["S", "--no-follow", "--task", "Web"]) == 0
    lines = capsys.readouterr().out.splitlines()
    started = [line for line in lines if "Web Server Started" in line]
    assert [line[-8:] for line in started] == ["[copy=1]", "[copy=2]"]


@pytest.mark.needs("chromium")
def test_page_shows_each_copy_and_the_sum(service: Copies) -> None:
    with launched() as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{service.client.address}/#instances")
        page.get_by_text("2 of 2 ready").wait_for()
        assert "copy 2" in page.locator("#instances-list").inner_text()
        rows = page.locator("#instances-figures tr").all_inner_texts()
        assert [row.split()[0] for row in rows] == ["Copy", "1", "2", "sum"]
        for number, pid in enumerate(service.copy_pids(), 1):
            page.get_by_role("link", name=f"copy {number}").click()
            page.get_by_text(f"copy {number} · pid {pid}").wait_for()
            page.goto(f"{page.url.partition('#')[0]}#log")
            page.get_by_text("Web Server Started").first.wait_for()
            page.goto(f"http://127.0.0.1:{service.client.address}/#instances")


def test_console_replaces_scales_and_stops_all_copies(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sparts", "tail", "S"]
    environment = {"SPARTS_RUNTIME_DIR": str(tmp_path / "run")}
    with (
        Copies(tmp_path) as service,
        ServiceProcess(command, cwd=tmp_path, env=environment) as tail,
    ):
        tail.wait_for_line(r"Web Server Started .*\[copy=2\]")
        before = set(children_of(service.pid))
        console = service.console()
        told = console.act("restart")
        assert told == "Copies to replace, one after the other: 2."
        service.wait_for_line("All copies are replaced")
        now = service.read("/status.json")["copies"]
        assert not before & {each["pid"] for each in now if each["state"] == "READY"}
        assert console.act("scale", number=3) == "Copies wanted: 3."
        service.wait_for_line(r"Copy 3 \(pid \d+\) is ready")
        assert len(service.read("/status.json")["copies"]) == 3
        assert service.client.act("scale", {"number": 0}).status == 400
        os.kill(children_of(service.pid)[0], signal.SIGKILL)
        service.wait_for_line(r"is ready", 6)
        assert service.client.ask("/readyz").status == 200
        tail.wait_for_line(r"Web Server Started .*\[copy=1\]", 2)  # of one that replaced it
        with ServiceProcess(command, cwd=tmp_path, env=environment) as interrupted:
            interrupted.wait_for_line(r"Web Server Started .*\[copy=2\]")
            assert interrupted.stop(signal.SIGINT) == 130
        assert console.act("drain") == "All copies drain, and then stop."
        assert service.wait() == 0, service.output
        service.wait_for_line("Draining for 0.1 s", 3)
        assert tail.wait() == 0, tail.output
