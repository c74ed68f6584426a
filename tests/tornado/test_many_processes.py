"""Copies of a service behind one port: connections are spread, and a rolling restart loses none."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

from soak.processes import Load, Web

RESTARTS = 2


def test_rolling_restarts_lose_no_request(tmp_path: Path) -> None:
    with Web(tmp_path, 2) as service, Load(service.port) as load:
        for number in range(RESTARTS):
            service.send(signal.SIGHUP)
            service.wait_for_line("All copies are replaced", number + 1)
        load.end()
        assert load.failed == []
        assert len(load.pids) > 2  # old and new ones have answered
        assert service.stop() == 0, service.output


def wait_in(listener: socket.socket, clients: int = 20) -> list[socket.socket]:
    return [socket.create_connection(listener.getsockname()) for _ in range(clients)]


def reset(connections: list[socket.socket]) -> int:
    """Send on each connection, tell how many are reset, and close them."""
    count = 0
    for connection in connections:
        with connection:
            connection.settimeout(0.01)
            try:
                connection.sendall(b"x")
                connection.recv(1)
            except TimeoutError:
                continue
            except OSError:
                count += 1
    return count


def test_closing_socket_resets_waiting_clients_unless_held() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as one:
        address = one.getsockname()
        other = socket.create_server(address, reuse_port=True)
        waiting = wait_in(one, 40)
        other.close()  # some waited there, and are not moved to `one`
        assert 0 < reset(waiting) < 40
    with socket.create_server(("127.0.0.1", 0)) as held:
        other = held.dup()
        waiting = wait_in(held)
        other.close()
        assert reset(waiting) == 0
