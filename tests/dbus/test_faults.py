"""Garbage, messages too large, a bus that hangs, and starting and stopping again and again."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

import pytest
from dbus_fast import Message
from sparts.errors import SpartsError
from sparts.states import ServiceStatus
from sparts.tasks.dbus import DBusMainLoopTask, bus, dbus_method, dbus_signal
from sparts.testing.conformance import check_task
from sparts.testing.leftovers import Leftovers
from sparts.testing.loops import switches_of
from sparts.testing.running import make_service, running, running_task, service_of
from sparts.testing.waiting import Recorder, wait_status

from tests.dbus.daemons import Daemon
from tests.dbus.services import LOOPS, NAME, PATH, Greeter

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

Service = service_of(Greeter)
last: ContextVar[str] = ContextVar("last", default="nobody")


def greet(daemon: Daemon) -> str:
    return daemon.gdbus(NAME, PATH, f"{NAME}.Greet", "you")


class Remembering(Greeter):
    """Greets who it has greeted before."""

    threads_for_calls = 1

    @dbus_method
    def Greet(self, name: str) -> str:
        """Give the name before, as far as the context has one."""
        before = last.get()
        last.set(name)
        return before


def test_call_sees_no_variables_of_the_call_before(session_bus: Daemon) -> None:
    with running(service_of(Remembering), *session_bus.argv):
        assert [greet(session_bus) for _ in range(2)] == ["('nobody',)"] * 2


# -- a bus that is none ----------------------------------------------------------------------------


@contextmanager
def false_bus(folder: Path, serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """Listen as a bus would, and do with each connection as `serve` says."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "false"))
    listener.listen()
    connections: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                connections.append(listener.accept()[0])
                with suppress(OSError):
                    serve(connections[-1])

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"unix:path={folder}/false"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            connection.close()
        thread.join(30)


def greet_client(connection: socket.socket) -> None:
    """Go through the handshake of a bus, up to its first message."""
    data = b""
    while b"AUTH" not in data:
        data += connection.recv(4096)
    connection.sendall(b"OK 0123456789abcdef0123456789abcdef\r\n")
    while b"BEGIN\r\n" not in data:
        data += connection.recv(4096)


def garbage(connection: socket.socket) -> None:
    greet_client(connection)
    connection.sendall(bytes(range(255, -1, -1)) * 16)


def too_large(connection: socket.socket) -> None:
    """Announce a message of 2 GiB."""
    greet_client(connection)
    connection.sendall(b"l\x02\x00\x01" + b"\xff\xff\xff\x7f" + b"\x01\x00\x00\x00" * 2)


def no_bus(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def refusing(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"REJECTED EXTERNAL\r\n")


def silent(connection: socket.socket) -> None:
    connection.recv(1)


@pytest.mark.parametrize("serve", [garbage, too_large, no_bus, refusing])
def test_what_is_no_bus_is_error_at_start(
    tmp_path: Path, serve: Callable[[socket.socket], None]
) -> None:
    before = Leftovers()
    with (
        false_bus(tmp_path, serve) as address,
        pytest.raises(SpartsError, match=rf"There is no bus at {address}: \S+"),
    ):
        make_service(Service, "--dbus-address", address).startBG()
    before.check()


def test_silent_bus_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "CONNECT_TIMEOUT", 0.1)
    for serve in (silent, greet_client):
        folder = tmp_path / serve.__name__
        folder.mkdir()
        with (
            false_bus(folder, serve) as address,
            pytest.raises(SpartsError, match=rf"No answer from the bus at {address} in 0.1 s"),
        ):
            make_service(Service, "--dbus-address", address).startBG()


def test_a_service_stops_while_it_connects(tmp_path: Path) -> None:
    connecting = threading.Event()

    def serve(connection: socket.socket) -> None:
        greet_client(connection)
        connecting.set()

    argv = ("--dbus-address", f"unix:path={tmp_path}/false", "--dbus-optional")
    with running(Service, *argv), false_bus(tmp_path, serve):  # which comes later
        assert connecting.wait(30)


def test_service_stops_while_its_bus_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = threading.Event()

    def serve(connection: socket.socket) -> None:
        greet_client(connection)
        connecting.set()

    with false_bus(tmp_path, serve) as address:
        service = make_service(Service, "--dbus-address", address, "--stop-timeout", "20s")

        def start() -> None:
            with suppress(SpartsError):
                service.startBG()

        starter = threading.Thread(target=start)
        starter.start()
        assert connecting.wait(30)
        service.shutdown()
        assert service.join(8)  # sooner than the connecting would take
        starter.join(30)


# -- messages --------------------------------------------------------------------------------------


class Large(Greeter):
    @dbus_method
    def Grow(self, size: int) -> bytes:
        return bytes(size)


def test_garbage_from_client_of_bus_harms_nobody(session_bus: Daemon) -> None:
    with running(Service, *session_bus.argv) as service:
        for data in (b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n" + os.urandom(4096), os.urandom(4096)):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(session_bus.socket))
                with suppress(OSError):
                    client.sendall(data)
                    while client.recv(4096):
                        pass
        assert greet(session_bus) == "('Hello, you',)"
        assert service.health.status is ServiceStatus.ALIVE


def test_too_large_reply_is_an_error(session_bus: Daemon) -> None:
    with running(service_of(Large), *session_bus.argv) as service:
        said = session_bus.gdbus(NAME, PATH, f"{NAME}.Grow", str(70_000_000), check=False)
        assert "org.freedesktop.DBus.Error.Failed" in said
        assert "67108864" in said
        assert greet(session_bus) == "('Hello, you',)"
        assert service.health.status is ServiceStatus.ALIVE


def test_too_large_reply_loses_and_rejoins_the_bus(tmp_path: Path) -> None:
    limit = '<limit name="max_message_size">1000000</limit>'
    with (
        Daemon(tmp_path / "small", more=limit) as small,
        running(service_of(Large), "--dbus-address", small.address) as service,
    ):
        said = small.gdbus(NAME, PATH, f"{NAME}.Grow", "2000000", check=False)
        assert "Error" in said
        wait_status(service, ServiceStatus.ALIVE)
        small.wait_for_name(NAME)
        assert greet(small) == "('Hello, you',)"


def test_socket_that_is_full_keeps_its_bus(session_bus: Daemon) -> None:
    class Loud(Greeter):
        @dbus_signal
        def Said(self, number: int, text: str) -> None: ...

    with running(service_of(Loud), *session_bus.argv) as service:
        task, heard = service.requireTask(Loud), Recorder[int]()
        connection = task.unique_name
        task.proxy(NAME, PATH).on("Said", lambda number, _: heard(number))
        with session_bus.hanging():
            for number in range(1000):
                task.Said(number, "x" * 10_000)
            task.loop_task.call(int).result(30)
        assert heard.wait(1000) == list(range(1000))
        assert task.unique_name == connection


def test_call_that_asks_for_no_reply_gets_none(session_bus: Daemon) -> None:
    with running_task(Greeter, *session_bus.argv) as task:

        async def send() -> None:
            from dbus_fast import MessageFlag

            for member, signature, body in (
                ("Greet", "s", ["x"]), ("Greet", "u", [1]), ("Nothing", "", []),
            ):  # fmt: skip
                task.bus.send_quietly(  # type: ignore[union-attr]
                    Message(NAME, PATH, NAME, member, signature=signature, body=body,
                            flags=MessageFlag.NO_REPLY_EXPECTED)
                )  # fmt: skip

        task.loop_task.call(send).result(30)
        assert greet(session_bus) == "('Hello, you',)"


# -- again and again -------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", LOOPS)
def test_nothing_stays_behind_after_200_starts_and_stops(
    session_bus: Daemon, argv: tuple[str, ...]
) -> None:
    def once() -> None:
        with running(Service, *session_bus.argv, *argv) as service:
            assert service.requireTask(Greeter).owns_name

    once()
    before = Leftovers()
    for _ in range(200):
        once()
    before.check("200 lives")


@pytest.mark.parametrize("argv", LOOPS)
def test_an_idle_service_never_wakes_up(session_bus: Daemon, argv: tuple[str, ...]) -> None:
    with running(Service, *session_bus.argv, *argv):
        assert greet(session_bus) == "('Hello, you',)"
        threads = [t for t in threading.enumerate() if t.name.startswith("Service.")]
        assert len(threads) >= 2
        counts = [[switches_of(thread) for thread in threads]]
        for _ in range(5):  # after the last call, it may have to go to sleep first
            threading.Event().wait(1.0)
            counts.append([switches_of(thread) for thread in threads])
            if counts[-1] == counts[-2]:
                break
        assert counts[-1] == counts[-2]


def test_restarted_loop_joins_the_bus_again(session_bus: Daemon) -> None:
    from sparts.vtask import RestartPolicy

    class Loop(DBusMainLoopTask):
        RESTART = RestartPolicy("on-failure", first_wait=0.001)

    class OnIt(Greeter):
        LOOP = Loop

    before = Leftovers()
    with running_task(OnIt, *session_bus.argv) as task:
        for _ in range(3):
            name = task.unique_name
            task.loop_task.call(task.loop_task.loop.stop)  # type: ignore[attr-defined, call-overload]
            session_bus.wait_for_name(NAME)
            task.loop_task.call(int).result(30)
            wait_for_name(task, name)
            assert greet(session_bus) == "('Hello, you',)"
    before.check()


def wait_for_name(task: Greeter, other_than: str | None) -> None:
    """Wait until the task has the name by another connection."""
    event = threading.Event()
    task.watch_name(NAME, lambda owner: event.set() if owner not in ("", other_than) else None)
    assert event.wait(30)


@pytest.mark.parametrize("name", ["DBusServiceTask", "DBusClientTask", "DBusMainLoopTask"])
def test_every_task_type_of_sparts_dbus_conforms(session_bus: Daemon, name: str) -> None:
    from sparts import entry_points

    prefix = {"DBusServiceTask": "dbus", "DBusClientTask": "dbus-client"}.get(name)
    argv = (f"--{prefix}-address", session_bus.address) if prefix else ()
    check_task(entry_points.load_task(name, "sparts-dbus"), *argv)


@pytest.mark.needs_module("gi")
def test_the_glib_loop_does_what_every_task_must() -> None:
    from sparts import entry_points

    check_task(entry_points.load_task("GLibMainLoopTask", "sparts-dbus"))
