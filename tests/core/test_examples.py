"""The examples of the core, run as their users run them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.processes import ServiceProcess

EXAMPLES = Path(__file__).parents[2] / "examples"
SIMPLE = [sys.executable, str(EXAMPLES / "simple.py")]


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "SIGTERM")]
)
def test_simple_service_logs_the_promised_lines(
    number: signal.Signals, said: str, tmp_path: Path
) -> None:
    with ServiceProcess(SIMPLE, cwd=tmp_path) as service:
        service.read_until_started()
        assert service.stop(number) == 0
    assert service.lines == [
        "DEBUG:MyService:All tasks started",
        f"INFO:MyService:{said} Received!  Stopping Tasks...",
        "INFO:MyService:Instance shut down gracefully",
    ]
