"""A server task that takes its sockets and answers nothing."""

from __future__ import annotations

from sparts.net.listeners import Listening
from sparts.vservice import VService
from sparts.vtask import VTask


class Echo(Listening, VTask):
    """Listens, and answers nothing."""

    OPT_PREFIX = "echo"
    DEFAULT_HOST = "127.0.0.1"
    LOOPLESS = True

    def start(self) -> None:
        """Take the sockets."""
        self.take_sockets()
        self.log_started()

    def join(self) -> None:
        """Close them."""
        self.close_sockets()


class EchoService(VService):
    """Has one such task."""

    TASKS = [Echo]


def echo(service: VService) -> Echo:
    """Give the task of an EchoService."""
    found: Echo = service.requireTask(Echo)
    return found
