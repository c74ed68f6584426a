"""The example service tells the example client how it is."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.processes import ServiceProcess, run_to_end

EXAMPLES = Path(__file__).parents[2] / "examples"
CLIENT = [sys.executable, str(EXAMPLES / "fb303_client.py")]


def test_the_client_shows_what_the_service_tells(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "fb303_service.py")]
    with ServiceProcess(command, cwd=tmp_path) as service:
        port = service.listening_port("NBServerTask")
        service.read_until_started()
        status, output = run_to_end([*CLIENT, f"127.0.0.1:{port}", "Tick"], cwd=tmp_path)
        assert status == 0, output
        assert output.startswith("MyService 1.0 ALIVE")
        assert "Tick.ticks" in output
        assert service.stop() == 0
    status, output = run_to_end([*CLIENT, f"127.0.0.1:{port}"], cwd=tmp_path)
    assert status == 1
    assert f"Cannot connect to 127.0.0.1:{port}: Connection refused. Is it running?" in output


def test_the_client_says_how_it_is_used(tmp_path: Path) -> None:
    status, output = run_to_end(CLIENT, cwd=tmp_path)
    assert status == 1
    assert "fb303_client.py HOST:PORT" in output
