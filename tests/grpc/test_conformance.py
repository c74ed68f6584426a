"""GrpcTask keeps the contracts of the test kit."""

from __future__ import annotations

import socket
from typing import ClassVar

import h2.config
import h2.connection
from sparts.testing.servers import ServerContract
from sparts.vtask import VTask

from tests.grpc.greeters import GreeterTask, Text

GOAWAY = 7  # the type of a frame


class TestGrpcTask(ServerContract):
    """GrpcTask is a server like every other."""

    server_task: ClassVar[type[VTask]] = GreeterTask

    def ask(self, connection: socket.socket) -> None:
        """Greet by HTTP/2 itself, on the connection of the test."""
        message = Text(text="you").SerializeToString()
        assert unary(connection, "/sparts.tests.Greeter/Greet", message) == "0"


def unary(connection: socket.socket, path: str, message: bytes) -> str:
    """Make one call on a new connection, and return its status."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    headers = [(":method", "POST"), (":scheme", "http"), (":path", path)]
    headers += [(":authority", "localhost"), ("te", "trailers")]
    headers += [("content-type", "application/grpc")]
    client.send_headers(1, headers)
    client.send_data(1, b"\0" + len(message).to_bytes(4) + message, end_stream=True)
    connection.sendall(client.data_to_send())
    file = connection.makefile("rb")
    while start := file.read(9):
        frame = start + file.read(int.from_bytes(start[:3]))
        if start[3] == GOAWAY:  # after one, h2 takes nothing more
            continue
        for event in client.receive_data(frame):
            found: dict[str, str] = dict(getattr(event, "headers", None) or ())
            if "grpc-status" in found:
                return found["grpc-status"]
        connection.sendall(client.data_to_send())
    raise ConnectionError("The connection ended before the call did.")
