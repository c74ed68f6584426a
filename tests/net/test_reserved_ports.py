"""Servers that bind for themselves: their options, and a port that stays theirs meanwhile."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import StartError
from sparts.net.listeners import ListeningOptions
from sparts.testing.running import make_service, running_task, service_of
from sparts.testing.waiting import restart
from sparts.vtask import VTask

from tests.net.listening import inherit
from tests.processes import captured

ROOT = Path(__file__).parents[2]


class Binder(ListeningOptions, VTask):
    """Binds and listens as gRPC does: by itself, at each start."""

    OPT_PREFIX = "binder"
    DEFAULT_HOST = "127.0.0.1"
    LOOPLESS = True
    RESERVE = True

    def start(self) -> None:
        """Listen on what was reserved."""
        self.listeners: list[socket.socket] = []
        for address in self.bound_addrs:
            family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen()
            self.listeners.append(listener)
        self.log_started()

    def stop(self) -> None:
        """Listen no more."""
        super().stop()
        for listener in self.listeners:
            listener.close()


BinderService = service_of(Binder)


def binds(address: Any) -> bool:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(address)
        except OSError:
            return False
        return True


def test_reserved_port_stays_across_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    between: list[bool] = []
    thread = make_service(BinderService).startBG()
    first = thread.service
    (address,) = first.requireTask(Binder).bound_addrs
    successor = first._instance.successor

    def note() -> Any:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        between.append(binds(address))
        return successor()

    monkeypatch.setattr(first._instance, "successor", note)
    second = restart(first)
    assert second.requireTask(Binder).bound_addrs == [address]
    socket.create_connection(address).close()
    second.shutdown()
    thread.join()
    assert between == [False]
    assert binds(address)


def test_reserved_addresses_of_both_families_have_one_port() -> None:
    with running_task(Binder, "--binder-host", "::") as task:
        assert [each[0] for each in task.bound_addrs] == ["0.0.0.0", "::"]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, task.bound_addrs[0][1])).close()


def test_port_that_another_has_reserved_is_start_error() -> None:
    with running_task(Binder) as task:
        port = task.bound_addrs[0][1]
        with pytest.raises(StartError, match=f"--binder-port: 127.0.0.1:{port} is in"):
            make_service(BinderService, "--binder-port", str(port)).startBG()


def test_live_unix_socket_is_a_start_error(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(path)
        live.listen()
        with pytest.raises(StartError, match="another process is listening"):
            make_service(BinderService, "--binder-sock", path).startBG()
    with running_task(Binder, "--binder-sock", path) as task:
        assert task.bound_addrs == []
        assert not os.path.exists(path)


def test_server_without_reserve_gets_options_alone() -> None:
    class Alone(Binder):
        RESERVE = False

    with running_task(Alone, "--binder-port", "7", "--binder-host", "::1") as task:
        assert task.bound_addrs == []
        assert (task.address().hosts, task.address().port) == (("::1",), 7)


def test_two_tasks_on_one_port_are_refused() -> None:
    other = type("Other", (Binder,), {"OPT_PREFIX": "other"})
    argv = ("--binder-port", "7", "--other-port", "7")
    with pytest.raises(StartError, match="Binder and Other are both to listen on"):
        make_service(service_of(Binder, other), *argv).startBG()


def test_inherited_socket_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        found = inherit(monkeypatch, binder=given)
        with pytest.raises(StartError, match="Binder binds for itself"):
            make_service(BinderService).startBG()
        os.close(found["binder"][0])


USERS = "Binder binds its port again at each start, which another user cannot"
COPIES = "Binder opens its sockets itself, which several processes cannot"


@pytest.mark.linux
@pytest.mark.parametrize(
    ("flag", "value", "why"),
    [("--user", "daemon", USERS), ("--group", "daemon", USERS), ("--processes", "2", COPIES)],
)
def test_what_cannot_bind_again_is_refused(flag: str, value: str, why: str) -> None:
    script = "from tests.net.test_reserved_ports import BinderService as S; S.initFromCLI()"
    done = captured([sys.executable, "-c", script, flag, value], cwd=ROOT, timeout=60)
    assert done.returncode == 2
    if os.geteuid() == 0 or why == COPIES:
        assert why in done.stderr
