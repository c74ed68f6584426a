"""Asks a status server over TCP or its Unix socket, as curl would."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sparts.testing.running import running, service_of
from sparts.testing.waiting import WAIT
from sparts.vservice import VService

TOKEN = "correct horse battery staple"  # noqa: S105
CONTROL = ("--status-control", "--status-token", TOKEN)
ACTING = {
    "Authorization": f"Bearer {TOKEN}",
    "Content-Type": "application/json",
    "X-Sparts-Control": "1",
}


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> Any:
        """Give the body's JSON."""
        return json.loads(self.text)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=WAIT)
        self.path = path

    def connect(self) -> None:
        """Connect to the path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT)
        self.sock.connect(str(self.path))


class Client:
    """Asks one server.

    Args:
        address: its port on this host, or the path of its Unix socket.
    """

    def __init__(self, address: int | Path) -> None:
        self.address = address

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask once, over a connection of its own."""
        with self.connected() as connection:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())

    def act(self, action: str, body: Any = None, **headers: str | None) -> Answer:
        """Ask for a control as the page does; a header of None is left out."""
        sent = {name: value for name, value in {**ACTING, **headers}.items() if value is not None}
        text = body if isinstance(body, str) else json.dumps(body or {})
        return self.ask(f"/control/{action}", "POST", text, sent)

    @contextmanager
    def connected(self) -> Iterator[http.client.HTTPConnection]:
        """Give a connection."""
        connection = (
            UnixConnection(self.address)
            if isinstance(self.address, Path)
            else http.client.HTTPConnection("127.0.0.1", self.address, timeout=WAIT)
        )
        try:
            yield connection
        finally:
            connection.close()


def client_of(service: VService) -> Client:
    """Give a client of a service's status server."""
    address = service.requireTask("StatusHTTPTask").bound_addrs[0]
    return Client(Path(address) if isinstance(address, str) else address[1])


@contextmanager
def serving(*tasks: Any, argv: tuple[str, ...] = (), **attributes: Any) -> Iterator[Any]:
    """Run a service of these tasks with a status server on a free port."""
    cls = service_of("StatusHTTPTask", *tasks, **attributes)
    with running(cls, "--status-port", "0", *argv) as service:
        yield service


class Stream:
    """The events of a status page, read as they come."""

    def __init__(self, client: Client) -> None:
        self._connected = client.connected()
        connection = self._connected.__enter__()
        connection.request("GET", "/events")
        self.answer = connection.getresponse()

    def next(self, kind: str = "message") -> Any:
        """Read on to the next event of a kind, and give its data; None at the stream's end."""
        name = "message"
        while line := self._line():
            key, _, value = line.rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data" and name == kind:
                return json.loads(value)
            elif not key:
                name = "message"
        return None

    def _line(self) -> str:
        try:
            return self.answer.readline().decode()
        except http.client.IncompleteRead:  # the server has ended it in the middle of an event
            return ""

    def close(self) -> None:
        """Close the connection."""
        self.answer.close()
        self._connected.__exit__(None, None, None)
