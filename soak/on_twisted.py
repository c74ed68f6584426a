"""The Twisted side of the soaked service, and its clients."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from sparts.tasks.twisted import TwistedServiceTask, TwistedTask, TwistedWebTask
from sparts.tasks.twisted_command import CommandTask
from twisted.application.internet import TimerService
from twisted.internet.protocol import Factory
from twisted.protocols.basic import LineReceiver

from soak.clients import Client, Http, expect


class Shout(LineReceiver):
    """Answers each line in capitals."""

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        """Answer."""
        self.sendLine(line.upper())  # type: ignore[no-untyped-call]


class Lines(TwistedTask):
    """Serves lines."""

    endpoint = "tcp:0:interface=127.0.0.1"

    def make_factory(self) -> Any:
        """Make what answers."""
        return Factory.forProtocol(Shout)


class Ticks(TwistedServiceTask):
    """A service of Twisted's."""

    def make_service(self) -> Any:
        """Make one that runs ten times a second."""
        return TimerService(0.1, lambda: None)


class Site(TwistedWebTask):
    """Serves a greeting by HTTP."""

    OPT_PREFIX = "site"
    DEFAULT_HOST = "127.0.0.1"


class Commands(CommandTask):
    """Runs commands."""


def twisted_clients(port: int, away: Callable[[], bool]) -> list[Client]:
    """Make the clients; they ask HTTP at ``port`` for the endpoint's, another after a restart."""
    web = Http(port)

    def shout(number: int) -> None:
        address = ("127.0.0.1", web.json("POST", "/port/Lines")["result"])
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(b"hello %d\r\n" % number)
            with connection.makefile("rb") as lines:
                expect(lines.readline(), b"HELLO %d\r\n" % number)

    client = Client("Twisted lines", shout)
    client.excused, client.close = away, web.close
    return [client]
