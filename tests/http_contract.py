"""The contract of servers, for those that speak HTTP."""

from __future__ import annotations

import socket

from sparts.testing.servers import ServerContract


class HTTPContract(ServerContract):
    """What holds for every server that answers a GET of `path` with `body`."""

    path = "/"
    body = b"Hello, world"

    def ask(self, connection: socket.socket) -> None:
        """Get the path, and keep the connection."""
        connection.sendall(f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while not answer.endswith(self.body):
            received = connection.recv(65536)
            assert received, answer
            answer += received
        assert answer.startswith(b"HTTP/1.1 200 ")
