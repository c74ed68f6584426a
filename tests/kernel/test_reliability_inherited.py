"""Descriptors that systemd passes: those of a wrong kind end the start and are named."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import captured

SERVICE = """
import os, sys
os.dup2(int(sys.argv.pop(1)), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
from tests.net.listening import EchoService

class Ends(EchoService):
    def initService(self):
        self.shutdown()

Ends.initFromCLI()
"""
ROOT = Path(__file__).parents[2]


def run(descriptor: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a service that has inherited a descriptor as number 3, and that ends at once."""
    environment = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", **environment}
    return captured(
        [sys.executable, "-c", SERVICE, str(descriptor), "--echo-port", "0"],
        cwd=ROOT,
        env={**os.environ, **environment},
        pass_fds=[descriptor],
        timeout=60,
    )


def pipe() -> int:
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def bound(address: Any, family: int, kind: int, *, listen: bool = False) -> int:
    sock = socket.socket(family, kind)
    sock.bind(address)
    if listen:
        sock.listen()
    return sock.detach()


def connected() -> int:
    one, other = socket.socketpair()
    other.detach()
    return one.detach()


HERE = ("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: os.open(__file__, os.O_RDONLY), "Socket operation on non-socket"),
        (pipe, "Socket operation on non-socket"),
        (lambda: bound(HERE, socket.AF_INET, socket.SOCK_DGRAM), "it is a socket of the type"),
        (lambda: bound(HERE, socket.AF_INET, socket.SOCK_STREAM), "it does not listen"),
        (connected, "it does not listen"),
        (
            lambda: bound("", socket.AF_UNIX, socket.SOCK_SEQPACKET, listen=True),
            "it is a socket of the type",
        ),
    ],
)
def test_descriptor_of_wrong_kind_is_start_error(make: Callable[[], int], reason: str) -> None:
    descriptor = make()
    try:
        done = run(descriptor)
    finally:
        os.close(descriptor)
    start = f"The inherited descriptor 3 (LISTEN_FDS, named 'web') cannot be used by Echo: {reason}"
    assert start in done.stderr
    assert "It must be a stream socket that listens." in done.stderr
    assert "Server Started" not in done.stderr
    assert done.returncode == 1


def test_descriptor_that_is_not_open_is_start_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = run(listener.fileno(), LISTEN_FDS="1000000000", LISTEN_FDNAMES="a:b")
    assert "The inherited descriptor 4 (LISTEN_FDS, named 'b') cannot be used" in done.stderr
    assert done.returncode == 1


@pytest.mark.parametrize("count", ["", "0", "-1", "²", "many"])
def test_count_that_is_no_number_passes_nothing(count: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = run(listener.fileno(), LISTEN_FDS=count)
    assert "Traceback" not in done.stderr
    assert done.returncode == 0


def test_descriptor_that_listens_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = run(listener.fileno())
    assert done.returncode == 0, done.stderr
