"""A server task that takes its sockets and answers nothing."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from sparts.net.listeners import Listening
from sparts.testing.running import service_of
from sparts.vservice import VService
from sparts.vtask import VTask

if TYPE_CHECKING:
    import pytest


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


EchoService = service_of(Echo)


def echo(service: VService) -> Echo:
    """Give the task of an EchoService."""
    found: Echo = service.requireTask(Echo)
    return found


def inherit(monkeypatch: pytest.MonkeyPatch, **named: socket.socket) -> dict[str, list[int]]:
    """Have the process be given sockets at its start, by their names; return the descriptors."""
    found = {name: [os.dup(sock.fileno())] for name, sock in named.items()}
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setattr("sparts.net.inherited.inherited_sockets", lambda: found)
    return found
