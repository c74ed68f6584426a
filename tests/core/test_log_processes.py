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


def run(folder: Path, stderr: int, **variables: str) -> None:
    """Run the service to its end, in order, with this standard error."""
    command, environment = [sys.executable, "-c", SCRIPT], clean_environment(**variables)
    subprocess.run(command, cwd=folder, env=environment, stderr=stderr, check=True)


def settled(text: str) -> list[str]:
    """The lines without the one that a stop during the start may or may not leave out."""
    return [line for line in text.splitlines() if "All tasks started" not in line]


@pytest.mark.parametrize("stream", ["none", "another's", "ours"])
def test_line_of_a_file_has_priority_if_systemds(stream: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("w") as out:
        found = os.fstat(out.fileno())
        streams = {"another's": "1:2", "ours": f"{found.st_dev}:{found.st_ino}"}
        variables = {"JOURNAL_STREAM": streams[stream]} if stream in streams else {}
        run(tmp_path, out.fileno(), TERM="xterm", **variables)
    prefixes = ["<4>", "<4>", "<6>"] if stream == "ours" else ["", "", ""]
    expected = [prefix + line for prefix, line in zip(prefixes, LINES, strict=True)]
    assert settled((tmp_path / "out").read_text()) == expected


def test_on_a_terminal_the_level_is_coloured(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    run(tmp_path, theirs, TERM="xterm", NO_COLOR="")
    text = b""
    while b"gracefully" not in text:  # a terminal passes lines on in its own time
        text += os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)
    lines = settled(text.decode())
    assert lines[0] == "\x1b[33mWARNING\x1b[0m:MyService:one"
    assert lines[-1] == "\x1b[32mINFO\x1b[0m:MyService:Instance shut down gracefully"
