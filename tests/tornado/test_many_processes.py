"""Copies of a service behind one port: connections are spread, and a rolling restart loses none."""

from __future__ import annotations

import signal
from pathlib import Path

from soak.processes import Load, Web

RESTARTS = 2


def test_rolling_restarts_lose_no_request(tmp_path: Path) -> None:
    with Web(tmp_path, 2) as service, Load(service.port) as load:
        for number in range(RESTARTS):
            service.send(signal.SIGHUP)
            service.wait_for_line("All copies are replaced", number + 1)
        load.end()
        assert load.failed == []
        assert len(load.pids) > 2  # old and new ones have answered
        assert service.stop() == 0, service.output
