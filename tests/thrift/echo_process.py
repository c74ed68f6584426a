"""A process of the echo service, for tests."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.processes import ServiceProcess, resident
from tests.thrift.echo import HERE


class EchoProcess(ServiceProcess):
    """The echo service."""

    def __init__(self, *argv: str) -> None:
        command = [sys.executable, "-m", "tests.thrift.echo_service", *HERE, *argv]
        super().__init__(command, cwd=Path(__file__).parents[2])
        self.port = self.listening_port()
        self.read_until_started()

    def connect(self) -> socket.socket:
        """Give a new connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def memory(self, which: str = "VmRSS") -> int:
        """Give the resident memory of the process in MiB; VmHWM: the most that it ever had."""
        return resident(self.process.pid, which) // 1024
