"""The memory that unfinished messages of Tornado's websockets take."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from time import monotonic

import pytest
from sparts.testing.running import running
from sparts.testing.waiting import log_of
from sparts.vservice import VService

from tests.certificates import over_tls
from tests.tornado.http_services import (
    HANDSHAKE,
    WAIT,
    Http,
    Service,
    ask_once,
    port_of,
    read_answer,
    settle,
)

MEMORY = ("--http-max-memory", "1MiB", "--http-max-body", "600KiB")
SIZE = 300_000


@contextlib.contextmanager
def opened(service: VService, tls: bool = False) -> Iterator[socket.socket]:
    """Open a websocket."""
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", port_of(service))
        client: socket.socket = stack.enter_context(socket.create_connection(address, WAIT))
        if tls:
            client = stack.enter_context(over_tls(client))
        client.sendall(HANDSHAKE)
        assert read_answer(client)[0] == 101
        yield client


def frame(first: int, payload: bytes) -> bytes:
    """Return a frame whose mask hides nothing."""
    return bytes([first, 0xFF]) + len(payload).to_bytes(8) + bytes(4) + payload


def refused(service: VService) -> int:
    """Return how many were refused."""
    return service.requireTask(Http).server.requests.n_refused


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_unfinished_messages_have_a_limit_together(parts: int, tls: bool, pem: str) -> None:
    argv = (*MEMORY, "--http-tls-cert", pem) if tls else MEMORY
    with running(Service, *argv) as service, log_of(service) as log:
        requests = service.requireTask(Http).server.requests
        with contextlib.ExitStack() as stack:
            held = [stack.enter_context(opened(service, tls)) for _ in range(8)]
            for client in held:
                first, part = 0x02, bytes(SIZE // parts)
                for _ in range(parts - 1):
                    client.sendall(frame(first, part))
                    first = 0
                client.sendall(frame(first | 0x80, part)[:-1])
            until = monotonic() + WAIT
            while requests.n_refused < 5 and monotonic() < until:
                settle(service)
            assert (requests.n_refused, service.getCounter("Http.bodies_refused")) == (5, 5)
            assert SIZE < requests.taken <= 2**20
            (client, *_), _, _ = select.select(held, [], [], WAIT)
            head = client.recv(2)
            assert (head[0], client.recv(head[1])[:2]) == (0x88, (1009).to_bytes(2))
        if not tls:
            assert ask_once(service, "/echo/x")[0] == 200
        settle(service)
        assert len([line for line in log.items if "take more than 1 MiB of memory" in line]) == 1
        assert requests.taken == 0


def test_answered_messages_hold_no_memory() -> None:
    with running(Service, *MEMORY) as service, opened(service) as client:
        for _ in range(5):
            client.sendall(frame(0x82, bytes(SIZE)))
            received = 0
            while received < SIZE + 10:
                received += len(client.recv(1 << 20))
        settle(service)
        assert refused(service) == 0
        assert service.requireTask(Http).server.requests.taken == 0
