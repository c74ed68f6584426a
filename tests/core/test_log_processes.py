"""Logging of services that run as processes: on a terminal, under systemd, into a pipe."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import clean_environment

SCRIPT = """
import asyncio
from sparts.vservice import VService

class MyService(VService):
    def initService(self):
        asyncio.run(asyncio.sleep(0))  # says at DEBUG which selector it uses
        self.logger.warning("one\\ntwo")
        self.shutdown()

MyService.initFromCLI()
"""
LINES = [
    "WARNING:MyService:one",
    "two",
    "INFO:MyService:Instance shut down gracefully",
]


def run(folder: Path, stderr: int, *argv: str, **variables: str) -> None:
    """Run the service to its end, in order, with this standard error."""
    (folder / "s.py").write_text(SCRIPT)
    command = [sys.executable, "s.py", *argv]
    environment = clean_environment(**variables)
    status = subprocess.run(command, cwd=folder, env=environment, stderr=stderr).returncode
    assert status == 0


def settled(text: str) -> list[str]:
    """The lines without the one that a stop during the start may or may not leave out."""
    return [line for line in text.splitlines() if "All tasks started" not in line]


def on_terminal(folder: Path, **variables: str) -> list[str]:
    """The lines that a terminal gets."""
    ours, theirs = pty.openpty()
    try:
        run(folder, theirs, **variables)
        text = b""
        while b"gracefully" not in text:  # a terminal passes lines on in its own time
            text += os.read(ours, 65536)
        return settled(text.decode())
    finally:
        os.close(ours)
        os.close(theirs)


def test_lines_in_files_are_plain(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        run(tmp_path, out.fileno(), TERM="xterm")
    assert settled((tmp_path / "out").read_text()) == LINES


def test_under_systemd_lines_to_journal_have_its_priority(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        found = os.fstat(out.fileno())
        run(tmp_path, out.fileno(), JOURNAL_STREAM=f"{found.st_dev}:{found.st_ino}")
    prefixes = ["<4>", "<4>", "<6>"]
    expected = [prefix + line for prefix, line in zip(prefixes, LINES, strict=True)]
    assert settled((tmp_path / "out").read_text()) == expected


def test_under_systemd_a_redirected_stderr_stays_plain(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        run(tmp_path, out.fileno(), JOURNAL_STREAM="1:2")
    assert settled((tmp_path / "out").read_text()) == LINES


def test_on_a_terminal_the_level_is_coloured(tmp_path: Path) -> None:
    lines = on_terminal(tmp_path, TERM="xterm", NO_COLOR="")
    assert lines[0] == "\x1b[33mWARNING\x1b[0m:MyService:one"
    assert lines[-1] == "\x1b[32mINFO\x1b[0m:MyService:Instance shut down gracefully"


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": ""}])
def test_terminal_that_wants_no_colour_gets_none(tmp_path: Path, variables: dict[str, str]) -> None:
    assert on_terminal(tmp_path, **{"TERM": "xterm", **variables}) == LINES
