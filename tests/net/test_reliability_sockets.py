"""Unix sockets of servers: of two processes one gets the path, and each removes its own file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from sparts.errors import OptionError
from sparts.net import sockets, unix_sockets
from sparts.net.listeners import Address
from sparts.testing.running import running

from tests.net.listening import EchoService

ROUNDS = 300

BINDER = """
import sys
from sparts.errors import StartError
from sparts.net import sockets
from sparts.net.listeners import Address

address = Address("Task", "task", (), 0, sys.argv[1], "", 10)
for _ in sys.stdin:
    try:
        opened = sockets.bind(address)
        print("bound", flush=True)
    except StartError:
        opened = None
        print("refused", flush=True)
    sys.stdin.readline()
    if opened:
        opened.close(take=False)
    print("closed", flush=True)
"""


def address_of(path: Path) -> Address:
    return Address("Task", "task", (), 0, str(path), "", 10)


def make_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_one_of_two_processes_gets_a_stale_path(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    binders = [
        subprocess.Popen(
            [sys.executable, "-c", BINDER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]

    def ask_all() -> list[str]:
        for binder in binders:
            assert binder.stdin is not None
            binder.stdin.write("\n")
            binder.stdin.flush()
        return sorted(binder.stdout.readline().strip() for binder in binders if binder.stdout)

    try:
        for _ in range(ROUNDS):
            make_stale(path)
            assert ask_all() == ["bound", "refused"]
            assert ask_all() == ["closed", "closed"]
            assert os.listdir(tmp_path) == []
    finally:
        for binder in binders:
            with binder:
                assert binder.stdin is not None
                binder.stdin.close()


def test_newer_socket_of_another_process_stays_at_stop(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as newer:
        with running(EchoService, "--echo-sock", str(path)) as service:
            path.unlink()
            newer.bind(str(path))
            newer.listen()
            service.listeners.give(54321)
            assert path.stat().st_uid == os.geteuid()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_own_socket_goes_without_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    opened = sockets.bind(address_of(path))
    (tmp_path / "echo.sock.lock").symlink_to("elsewhere")  # as on a full disk
    opened.close(take=False)
    assert not path.exists()


def test_missing_lock_file_is_a_start_error(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    (tmp_path / "echo.sock.lock").symlink_to("elsewhere")
    with pytest.raises(OptionError, match="--task-sock: cannot listen on"):
        sockets.bind(address_of(path))
    assert not path.exists()


def test_lock_of_process_that_died_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    (tmp_path / "echo.sock.lock").touch()
    with unix_sockets.locked(str(path)):
        assert (tmp_path / "echo.sock.lock").exists()
    assert os.listdir(tmp_path) == []
