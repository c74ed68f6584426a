"""File descriptors of messages: closed when nobody takes them, and never somebody else's."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import DBusError, Message, MessageType, Variant
from dbus_fast.signature import get_signature_tree
from sparts.tasks.dbus import DBusClientTask, DBusServiceTask, dbus_method
from sparts.tasks.dbus.descriptors import with_indices
from sparts.tasks.dbus.types import UnixFD
from sparts.testing.running import running_task
from sparts.testing.waiting import Recorder

from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

NAME, PATH = "org.example.Files", "/org/example/Files"
STRAY = 40


class Files(DBusServiceTask):
    BUS_NAME = NAME

    @dbus_method
    def Read(self, file: UnixFD) -> str:
        with open(file, closefd=False, encoding="utf-8") as found:
            return found.read()

    @dbus_method
    async def ReadAny(self, files: dict[str, Any]) -> list[str]:
        return [os.readlink(f"/proc/self/fd/{file}") for file in files.values()]

    @dbus_method
    def Same(self) -> Variant:
        return KEPT


KEPT = Variant("h", 0)


@pytest.fixture
def files(session_bus: Daemon) -> Iterator[Files]:
    with running_task(Files, *session_bus.argv) as task:
        yield task


def opened(path: Path | str) -> int:
    """Return how many descriptors of this process are on a file."""
    found = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{fd}") == str(path)
        except OSError:  # that of the listing itself
            continue
    return found


def send(task: DBusClientTask, message: Message) -> None:
    """Send a message as it is."""

    async def send_it() -> None:
        assert task.bus is not None
        await task.bus.send(message)

    task.loop_task.call(send_it).result(30)


@pytest.mark.parametrize("kind", ["signal", "return", "error", "ping", "method", "misfit"])
@pytest.mark.parametrize("receiver", ["files", "client"])
def test_descriptors_of_stray_messages_are_closed(
    request: pytest.FixtureRequest, files: Files, client: DBusClientTask, tmp_path: Path, kind: str,
    receiver: str,
) -> None:  # fmt: skip
    task = request.getfixturevalue(receiver)
    sender = client if receiver == "files" else files
    path = tmp_path / "file"
    path.write_text("content", encoding="utf-8")
    kinds: dict[str, dict[str, Any]] = {
        "signal": {"message_type": MessageType.SIGNAL, "path": PATH, "interface": NAME,
                   "member": "Moved"},
        "return": {"message_type": MessageType.METHOD_RETURN, "reply_serial": 4711},
        "error": {"message_type": MessageType.ERROR, "reply_serial": 4711,
                  "error_name": "org.example.Error.X"},
        "ping": {"path": PATH, "interface": "org.freedesktop.DBus.Peer", "member": "Ping"},
        "method": {"path": PATH, "interface": NAME, "member": "Nothing"},
        "misfit": {"path": PATH, "interface": NAME, "member": "Same"},
    }  # fmt: skip
    with open(path, encoding="utf-8") as file:
        for _ in range(STRAY):
            send(sender, Message(destination=task.unique_name, signature="h", body=[0],
                                 unix_fds=[file.fileno()], **kinds[kind]))  # fmt: skip
        # What comes behind them in the same stream has been handled when it is answered.
        with pytest.raises(DBusError):
            sender.proxy(task.unique_name, PATH, NAME).call("Nothing", signature="")
        assert opened(path) == 1


def test_reply_closes_what_its_body_does_not_name(files: Files, client: DBusClientTask) -> None:
    asked = client.loop_task.call(client.proxy(NAME, PATH, NAME).call_in_loop, "Same", (),
                                  signature="")  # fmt: skip
    fd = asked.result(30)
    assert fd > 2
    os.close(fd)
    message = Message("a.b", "/", "a.b", "c", signature="", unix_fds=[os.dup(0)])
    from sparts.tasks.dbus.descriptors import take_fds

    (number,) = message.unix_fds
    assert take_fds(message) == []
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_value_that_method_returns_again_is_not_changed(
    files: Files, client: DBusClientTask
) -> None:
    for _ in range(2):
        os.close(client.proxy(NAME, PATH, NAME).Same())
    assert Variant("h", 0) == KEPT


@pytest.mark.parametrize("index", [0, 1, 5, 2**32 - 1])
def test_descriptor_that_did_not_come_is_an_error(
    files: Files, client: DBusClientTask, index: int
) -> None:
    """Its number would be a file of the service."""

    async def call(member: str, signature: str, body: list[Any]) -> Any:
        assert client.bus is not None
        return await client.bus.request(
            Message(NAME, PATH, NAME, member, signature=signature, body=body)
        )

    for member, signature, body in (
        ("Read", "h", [index]),
        ("ReadAny", "a{sv}", [{"a": Variant("h", index)}]),
        ("ReadAny", "a{sv}", [{"a": Variant("av", [Variant("(h)", [index])])}]),
    ):
        with pytest.raises(DBusError, match=f"descriptor {index} did not come along"):
            client.loop_task.call(call, member, signature, body).result(30)


def test_signal_brings_its_descriptor_for_the_callback(
    files: Files, client: DBusClientTask, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("content", encoding="utf-8")
    read = Recorder[str]()
    subscription = client.proxy(NAME, PATH, NAME).on(
        "Moved", lambda file: read(os.readlink(f"/proc/self/fd/{file}"))
    )
    with open(path, encoding="utf-8") as file:
        send(files, Message(message_type=MessageType.SIGNAL, path=PATH, interface=NAME,
                            member="Moved", signature="h", body=[0],
                            unix_fds=[file.fileno()]))  # fmt: skip
        assert read.wait(1) == [str(path)]
        subscription.cancel()
        client.loop_task.call(int).result(30)
        assert opened(path) == 1


def test_indices_stand_for_each_descriptor_once() -> None:
    tree = get_signature_tree("ha{sv}a(hs)")
    given = [7, {"a": Variant("h", 8), "b": Variant("s", "x")}, [[7, "c"], [9, "d"]]]
    body, files = with_indices(tree, given)
    assert files == [7, 8, 9]
    assert body == [0, {"a": Variant("h", 1), "b": Variant("s", "x")}, [[0, "c"], [2, "d"]]]
    assert given == [7, {"a": Variant("h", 8), "b": Variant("s", "x")}, [[7, "c"], [9, "d"]]]
