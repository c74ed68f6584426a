"""NBServerTask keeps the contracts of the test kit."""

from __future__ import annotations

import socket
from typing import ClassVar

import pytest
from sparts.testing.servers import ServerContract
from sparts.vtask import VTask

from tests.thrift.echo import AsyncServer, EchoServer, InlineServer, ask_text

pytestmark = pytest.mark.needs("thrift-compiler")


class TestNBServerTask(ServerContract):
    """NBServerTask is a server like every other."""

    server_task: ClassVar[type[VTask]] = EchoServer

    def ask(self, connection: socket.socket) -> None:
        """Ask for an echo."""
        ask_text(connection, "héllo")


class TestInlineServer(TestNBServerTask):
    """So is one of an inline handler."""

    server_task = InlineServer


class TestAsyncServer(TestNBServerTask):
    """So is one whose handler is asynchronous."""

    server_task = AsyncServer
