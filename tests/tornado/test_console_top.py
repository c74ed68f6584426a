"""`sparts top` in a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.testing.processes import ServiceProcess
from sparts.testing.waiting import WAIT

from tests.browsers import launched
from tests.tornado.page_services import Report, busy
from tests.tornado.terminals import Terminal, sparts
from tests.tornado.test_console import folder as folder
from tests.tornado.test_status_views import PICTURES, past

SIZES = [(80, 24), (200, 50)]


@pytest.mark.parametrize(("columns", "lines"), SIZES)
def test_top_drills_down_and_acts(columns: int, lines: int) -> None:
    with busy() as service, Terminal(sparts("top"), columns, lines) as terminal:
        terminal.read_until("Service ")
        terminal.type("\r")
        shown = terminal.read_until("queue_depth")
        assert "WARNING, ready since" in shown
        assert "throughput" in shown
        terminal.read_until("no address in bad three")
        order = [task.name for task in service.tasks]
        terminal.type("\x1b[B" * order.index("Report"))
        terminal.type("x")
        assert service.requireTask(Report).ran.wait(WAIT)
        terminal.read_until("Report runs now.")
        terminal.type("p")
        terminal.read_until("PAUSED")
        terminal.type("p")
        terminal.read_until(lambda text: "PAUSED" not in text)
        terminal.type("\r")
        terminal.read_until("Next run")
        terminal.type("\x1b")
        terminal.read_until("queue_depth")
        terminal.type("r")
        terminal.read_until("Restart Report, with what needs it?")
        before = service.requireTask(Report)
        terminal.type("y")
        terminal.read_until("Restarted: Report.")
        assert service.requireTask(Report) is not before
        terminal.type("q")
        assert terminal.finish() == 0


def test_top_without_services_ends_with_interrupt() -> None:
    with Terminal(sparts("top"), 80, 24) as terminal:
        terminal.read_until("No service is announced.")
        terminal.type("\x03")
        assert terminal.finish() == 0


def test_top_ends_with_its_terminal() -> None:
    with Terminal(sparts("top"), 80, 24) as terminal:
        terminal.read_until("No service is announced.")
        terminal.hang_up()
        assert terminal.process.wait(WAIT) == -signal.SIGHUP


def test_top_of_one_service_ends_with_escape() -> None:
    with busy(), Terminal(sparts("top", "Service"), 80, 24) as terminal:
        terminal.read_until("queue_depth")
        terminal.type("\x1b")
        assert terminal.finish() == 0


def test_top_tells_that_a_service_has_stopped() -> None:
    with busy() as service, Terminal(sparts("top", "Service"), 80, 24) as terminal:
        terminal.read_until("queue_depth")
        terminal.type("S")
        terminal.read_until("Stop Service?")
        terminal.type("y")
        assert service.ended.wait(WAIT)
        terminal.read_until("does not answer")
        terminal.type("q")
        assert terminal.finish() == 0


BACK = """
from sparts.vservice import VService

class Back(VService):
    TASKS = ["StatusHTTPTask"]

Back.initFromCLI()
"""


def test_top_finds_a_service_that_has_started_again(tmp_path: Path) -> None:
    (tmp_path / "back.py").write_text(BACK)
    argv = [sys.executable, "back.py", "--status-port", "0"]
    with ServiceProcess(argv, cwd=tmp_path) as first:
        first.wait_for_port("StatusHTTPTask")
        with Terminal(sparts("top", "Back"), 80, 24) as terminal:
            terminal.read_until(f"pid {first.pid}")
            first.send(signal.SIGKILL)
            terminal.read_until("Back does not answer")
            with ServiceProcess(argv, cwd=tmp_path) as second:
                terminal.read_until(f"pid {second.pid}")
                terminal.type("q")
                assert terminal.finish() == 0
                assert second.stop() == 0


@pytest.mark.needs("chromium")
@pytest.mark.skipif("PICTURES" not in os.environ, reason="make pictures")
def test_pictures_of_the_terminal(tmp_path: Path) -> None:
    with busy() as service, launched() as browser:
        past(service.requireTask("StatusHTTPTask"))
        page = browser.new_page()
        for columns, lines in SIZES:
            with Terminal(sparts("top", "Service"), columns, lines) as terminal:
                terminal.read_until("no address in")
                _picture(page, terminal, f"top-{columns}x{lines}")
        with Terminal(sparts("ps"), 80, 24) as terminal:
            terminal.finish()
            _picture(page, terminal, "ps-80x24")


def _picture(page: Any, terminal: Terminal, name: str) -> None:
    page.set_content(terminal.page())
    page.locator("pre").screenshot(path=PICTURES / f"{name}.png")


@pytest.mark.parametrize("name", ["top-80x24", "top-200x50", "ps-80x24"])
def test_docs_have_a_picture_of_the_terminal(name: str) -> None:
    assert (PICTURES / f"{name}.png").stat().st_size < 250_000
