"""Listening sockets: where a server task listens, and a clear error for each wrong way."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError, StartError
from sparts.net import sockets
from sparts.net.listeners import Listening, format_address
from sparts.testing.running import make_service, running, service_of
from sparts.vservice import VService

from tests.net.listening import Echo, EchoService, echo, inherit

BOTH = service_of(Echo, type("Other", (Echo,), {"OPT_PREFIX": "other"}))


def start_error(*argv: str, service_class: type[VService] = EchoService) -> str:
    with pytest.raises((StartError, OptionError)) as caught:
        make_service(service_class, *argv).startBG()
    return str(caught.value)


def test_name_of_host_stands_for_all_its_addresses() -> None:
    with running(EchoService, "--echo-host", "localhost") as service:
        assert "127.0.0.1" in {address[0] for address in echo(service).bound_addrs}


def test_sockets_neither_block_nor_reach_children() -> None:
    with running(EchoService) as service:
        (sock,) = echo(service)._sockets
        assert sock.gettimeout() == 0
        assert not os.get_inheritable(sock.fileno())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--echo-host 192.0.2.1", "--echo-host: 192.0.2.1:0 is not an address of this host."),
        ("--echo-host no-such.invalid", "--echo-host: 'no-such.invalid' is not an address of this"),
        ("--echo-sock no/s", "--echo-sock: cannot listen on no/s: No such file or directory."),
        ("--echo-sock " + "x" * 200, "AF_UNIX path too long."),
        ("--echo-sock s --echo-sock-group nix", "--echo-sock-group: no group is named 'nix'."),
        (
            "--echo-sock s --echo-port 7",
            "--echo-sock and --echo-port exclude each other (the port comes from: command line: "
            "--echo-port). Leave one of them out.",
        ),
    ],
)
def test_where_nobody_can_listen(
    argv: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in start_error(*argv.split())
    assert not list(tmp_path.iterdir())


def test_privileged_port(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sockets, "_bind_tcp", refuse)  # root may use every port
    assert start_error("--echo-port", "80") == (
        "--echo-port: no permission to listen on 127.0.0.1:80. Ports below 1024 need root or "
        "CAP_NET_BIND_SERVICE."
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_two_tasks_on_one_port(host: str) -> None:
    argv = ("--echo-port", "7", "--other-port", "7", "--other-host", host)
    assert start_error(*argv, service_class=BOTH) == (
        f"Echo and Other are both to listen on {host}:7. Give one of them another with "
        "--echo-port or --other-port."
    )


def test_unix_socket_may_be_a_groups(tmp_path: Path) -> None:
    group = grp.getgrgid(os.getgid())
    path = tmp_path / "echo.sock"
    with running(EchoService, "--echo-sock", str(path), "--echo-sock-group", group.gr_name):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_gid == group.gr_gid


def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with running(EchoService, "--echo-sock", str(path)), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_live_unix_socket_is_an_error_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        assert start_error("--echo-sock", str(path)) == (
            f"--echo-sock: another process is listening on {path}. Stop it, or choose another path."
        )
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_plain_file_at_the_socket_path_stays(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    message = start_error("--echo-sock", str(path))
    assert message == f"--echo-sock: {path} exists and is not a socket."
    assert path.read_text() == "data"


@pytest.mark.parametrize("prefix", ["my-echo", "my_echo"])
def test_socket_beside_port_of_long_prefix(prefix: str, tmp_path: Path) -> None:
    task, flag = type("Echo", (Echo,), {"OPT_PREFIX": prefix}), prefix.replace("_", "-")
    argv = (f"--{flag}-sock", str(tmp_path / "s"), f"--{flag}-port", "7")
    assert start_error(*argv, service_class=service_of(task)) == (
        f"--{flag}-sock and --{flag}-port exclude each other (the port comes from: command line: "
        f"--{flag}-port). Leave one of them out."
    )


def test_unix_socket_set_beside_port_at_run_time(tmp_path: Path) -> None:
    refused = pytest.raises(OptionError, match="--echo-sock and --echo-port exclude each other")
    with running(EchoService, "--echo-port", "0") as service, refused:
        service.setOption("echo_sock", str(tmp_path / "s"))


def test_unix_socket_together_with_a_default_port(tmp_path: Path) -> None:
    with running(service_of(Echo, DEFAULT_PORT=7), "--echo-sock", str(tmp_path / "s")) as service:
        assert echo(service).bound_addrs == [str(tmp_path / "s")]


class Late(Echo):
    """Accepts nothing before its stop, and then answers the clients that wait."""

    OPT_PREFIX = "late"

    def stop(self) -> None:
        super().stop()
        self.late = self.stop_listening()
        for connection in self.late:
            assert connection.gettimeout() == 0
            connection.sendall(b"served")
            connection.close()


LateService = service_of(Late)


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "unix"])
def test_connections_that_wait_at_stop_can_be_served(kind: str, tmp_path: Path) -> None:
    argv = {"tcp": (), "tcp6": ("--late-host", "::1"), "unix": ("--late-sock", str(tmp_path / "s"))}
    clients: list[socket.socket] = []
    with running(LateService, *argv[kind]) as service:
        address = service.requireTask(Late).bound_addrs[0]
        family = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}[kind]
        for _ in range(20):
            clients.append(socket.socket(family))
            clients[-1].connect(address)
    assert not (tmp_path / "s").exists()
    for client in clients:
        with client:
            assert client.recv(10) == b"served"
    with (
        socket.socket(family) as client,
        pytest.raises((ConnectionRefusedError, FileNotFoundError)),
    ):
        client.connect(address)


def test_connections_that_wait_at_restart_are_next_instances() -> None:
    thread = make_service(LateService).startBG()
    first = thread.service
    with socket.create_connection(first.requireTask(Late).bound_addrs[0]) as client:
        first.restart()
        assert first.join(30.0)
        assert first.requireTask(Late).late == []
        thread.service.wait_ready(30.0)
        thread.service.shutdown()
        thread.join()
        assert client.recv(10) == b"served"


@pytest.fixture
def passed() -> Iterator[list[socket.socket]]:
    """Two sockets that the process was given, as if at its start."""
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        yield [one, other]


@pytest.mark.parametrize("name", ["echo", "Echo", "unknown", "my.socket"])
def test_only_server_gets_the_inherited_socket(
    name: str, passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    inherit(monkeypatch, **{name: passed[0]})
    with running(EchoService, "--echo-port", "7") as service:
        assert echo(service).bound_addrs == [passed[0].getsockname()]


def test_inherited_sockets_go_to_servers_of_their_names(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    inherit(monkeypatch, other=passed[0], echo=passed[1])
    with running(BOTH) as service:
        assert echo(service).bound_addrs == [passed[1].getsockname()]
        assert service.requireTask("Other").bound_addrs == [passed[0].getsockname()]


def test_inherited_socket_that_nobody_is_named_like(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    inherit(monkeypatch, unknown=passed[0])
    message = start_error(service_class=BOTH)
    assert "No task is named or prefixed like the inherited socket(s) unknown." in message
    assert "FileDescriptorName=echo" in message


def test_sockets_for_another_process_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "1")
    monkeypatch.setenv("LISTEN_PID", "1")
    with running(BOTH) as service:
        assert len(echo(service).bound_addrs) == len(service.requireTask("Other").bound_addrs) == 1
    assert "LISTEN_FDS" not in os.environ


def test_inherited_socket_keeps_its_waiting_clients(
    passed: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    inherit(monkeypatch, late=passed[0])
    address = passed[0].getsockname()
    with running(LateService) as service, socket.create_connection(address):
        assert service.requireTask(Late).bound_addrs == [address]
        service.shutdown()
        service.join(30.0)
        assert service.requireTask(Late).late == []
        with socket.create_connection(address, 5.0):
            passed[0].settimeout(5.0)
            for _ in range(2):
                passed[0].accept()[0].close()


def test_as_many_connections_may_wait_as_backlog_says(tmp_path: Path) -> None:
    class Few(Echo):
        BACKLOG = 3

    path = str(tmp_path / "s")
    with running(service_of(Few), "--echo-sock", path), contextlib.ExitStack() as stack:
        waiting = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
                waiting += 1
        assert waiting == Few.BACKLOG + 1  # the system lets one more in


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/x.sock", "/run/x.sock"),
        (b"\0abstract", "\0abstract"),
    ],
)
def test_addresses_are_shown_as_people_write_them(address: Any, text: str) -> None:
    assert format_address(address) == text


def test_file_of_inherited_unix_socket_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "echo.sock")
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(path)
        holder.listen()
        inherit(monkeypatch, echo=holder)
        with running(EchoService, "--echo-sock", path) as service:
            service.listeners.give(54321)
        assert os.stat(path).st_uid == os.geteuid()


def test_old_import_path_gives_the_same_names() -> None:
    from sparts import listeners as old

    assert old.Listening is Listening
    assert old.format_address is format_address
