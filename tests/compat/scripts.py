"""Services as they were written for sparts 0.7, run as real processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

from tests.processes import ServiceProcess, clean_environment

HEAD = """
import sys, time
from sparts.sparts import option
from sparts.vservice import VService
from sparts.vtask import ExecuteContext, SkipTask, TryLater, VTask

def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\\n")  # one write: lines stay whole
    sys.stdout.flush()
"""


def script(
    folder: Path, body: str, *argv: str, end: str = "S.initFromCLI()", **variables: str
) -> ServiceProcess:
    """Run ``body`` after `HEAD` and before ``end``."""
    path = folder / "service.py"
    path.write_text(f"{HEAD}\n{dedent(body)}\n\n{dedent(end)}\n")
    return run([sys.executable, str(path), *argv], folder, **variables)


def run(command: Sequence[str], folder: Path, **variables: str) -> ServiceProcess:
    """Run a command in a folder, in an environment without variables of our own."""
    return ServiceProcess(command, cwd=folder, env=clean_environment(**variables))
