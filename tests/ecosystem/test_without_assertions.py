"""Services run under ``python -O`` and ``-OO``, which leave out assertions and docstrings, also
those of the libraries that the loops stand on.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.core.scripts import stopped

LOOPS = [
    "AsyncioLoopTask",
    "DBusMainLoopTask",
    pytest.param("GLibMainLoopTask", marks=pytest.mark.needs_module("gi")),
    "SelectTask",
    "TornadoIOLoopTask",
    "TwistedReactorTask",
]


@pytest.mark.parametrize("name", LOOPS)
def test_loop_runs_without_assertions(name: str, tmp_path: Path) -> None:
    body = f"""
    class S(ActsWhenReady):
        TASKS = ["{name}"]
        def when_ready(self):
            say("seven is", self.requireTask("{name}").call(int, "7").result())
    """
    python = (sys.executable, "-OO")
    ends = stopped(
        tmp_path, body, status=0, until="seven is 7", python=python, number=signal.SIGTERM
    )
    assert "Traceback" not in ends.output


@pytest.mark.parametrize("name", ["GrpcTask", "NBServerTask", "TornadoHTTPTask", "TwistedWebTask"])
def test_server_runs_without_assertions(name: str, tmp_path: Path) -> None:
    flags = ["--grpc-port", "0"] if name == "GrpcTask" else []
    body = f"TASKS = ['FB303HandlerTask', '{name}']"
    stopped(tmp_path, body, *flags, status=0, python=(sys.executable, "-OO"))
