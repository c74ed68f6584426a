"""The same echo server as a task of a service. Prints its port."""

from __future__ import annotations

import sys
from typing import Any

from sparts.tasks.twisted import TwistedServerTask
from sparts.vservice import VService
from twisted.internet.protocol import Factory, Protocol


class Echo(Protocol):
    """Sends back what it receives."""

    transport: Any

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """Send it back."""
        self.transport.write(data)


class EchoTask(TwistedServerTask):
    """Serves it."""

    DEFAULT_HOST = "127.0.0.1"

    def make_factory(self) -> Any:
        """Return the factory."""
        return Factory.forProtocol(Echo)

    def log_started(self) -> None:
        """Print the port."""
        sys.stdout.write(f"{self.bound_addrs[0][1]}\n")
        sys.stdout.flush()


class Service(VService):
    """An echo service."""

    TASKS = (EchoTask,)


if __name__ == "__main__":
    Service.initFromCLI()
