"""A service on a bus that runs as several copies."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from sparts.testing.processes import ServiceProcess

from tests.core.copies import children_of
from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus")

SERVICE = """
from sparts.tasks.dbus import DBusServiceTask
from sparts.vservice import VService

class OnBus(DBusServiceTask):
    BUS_NAME = "org.example.Copies"

class S(VService):
    TASKS = [OnBus]

S.initFromCLI()
"""


def test_name_on_the_bus_moves_to_another_copy(session_bus: Daemon, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    command = [sys.executable, "service.py", "--processes", "2"]
    environment = {"DBUS_SESSION_BUS_ADDRESS": session_bus.address}
    with ServiceProcess(command, cwd=tmp_path, env=environment) as service:
        service.wait_ready()
        first = int(service.wait_for_line(r"Copy 1 \(pid (\d+)\) is ready")[1])
        os.kill(first, signal.SIGKILL)
        service.wait_for_line(r"This copy runs from now on: .*OnBus \[copy=2\]")
        service.wait_for_line(r"Copy 1 \(pid \d+\) is ready", 2)
        assert len(children_of(service.pid)) == 2
        assert service.stop() == 0, service.output
