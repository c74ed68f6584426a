"""The examples of the core, run as their users run them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.processes import ServiceProcess, run_to_end

EXAMPLES = Path(__file__).parents[2] / "examples"
SIMPLE = [sys.executable, str(EXAMPLES / "simple.py")]


def test_simple_service_logs_the_promised_lines(tmp_path: Path) -> None:
    with ServiceProcess(SIMPLE, cwd=tmp_path) as service:
        service.read_until_started()
        assert service.stop(signal.SIGINT) == 0
    assert service.lines == [
        "DEBUG:MyService:All tasks started",
        "INFO:MyService:KeyboardInterrupt Received!  Stopping Tasks...",
        "INFO:MyService:Instance shut down gracefully",
    ]


def test_sigterm_ends_a_service_in_order(tmp_path: Path) -> None:
    with ServiceProcess(SIMPLE, cwd=tmp_path) as service:
        service.read_until_started()
        assert service.stop(signal.SIGTERM) == 0
    assert service.lines[1] == "INFO:MyService:SIGTERM Received!  Stopping Tasks..."


def test_help_lists_the_options(tmp_path: Path) -> None:
    status, output = run_to_end([*SIMPLE, "-h"], cwd=tmp_path)
    assert status == 0
    for flag in ("--level", "--logfile", "--tasks"):
        assert flag in output


def test_unknown_flag_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    status, output = run_to_end([*SIMPLE, "--no-such-flag"], cwd=tmp_path)
    assert status == 2
    assert "--no-such-flag" in output
    assert "Traceback" not in output


QUIET = """
from sparts.vservice import VService
class Quiet(VService):
    def initService(self):
        print("made", flush=True)
Quiet.initFromCLI()
"""


def test_level_hides_what_is_below_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", QUIET, "--level", "INFO"]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.read_until("made")
        assert service.stop(signal.SIGTERM) == 0
    assert not any(line.startswith("DEBUG") for line in service.lines)


def test_logfile_takes_the_log(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    command = [sys.executable, "-c", QUIET, "--logfile", str(log)]
    with ServiceProcess(command, cwd=tmp_path) as service:
        service.read_until("made")
        assert service.stop(signal.SIGTERM) == 0
    assert service.lines == ["made"]
    assert "Instance shut down gracefully" in log.read_text()
