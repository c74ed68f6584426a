"""Calls that wait for their reply take no more memory than there is for them."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from dbus_fast import Message, Variant
from sparts.errors import UsageError
from sparts.tasks.dbus import DBusError, DBusServiceTask, dbus_method
from sparts.tasks.dbus.bus import Bus
from sparts.tasks.dbus.memory import PER_CALL, weight
from sparts.testing.running import make_service, running_task, service_of

from tests.dbus.daemons import Daemon
from tests.processes import resident

pytestmark = pytest.mark.needs("dbus", "libglib2.0-bin")

NAME, PATH = "org.example.Slow", "/org/example/Slow"
SERVICE = """
import threading
from sparts.tasks.dbus import DBusServiceTask, dbus_method
from sparts.vservice import VService

class Slow(DBusServiceTask):
    BUS_NAME = "org.example.Slow"

    @dbus_method
    def Wait(self, text: str) -> None:
        self.stop_event.wait()

class Service(VService):
    TASKS = [Slow]

Service.initFromCLI()
"""


class Slow(DBusServiceTask):
    BUS_NAME = NAME

    def initTask(self) -> None:
        super().initTask()
        self.release = threading.Event()
        self.soon = asyncio.Event()

    @dbus_method
    def Wait(self, text: str) -> str:
        self.release.wait(30)
        return text[:1]

    @dbus_method
    async def WaitSoon(self, text: str) -> str:
        await self.soon.wait()
        return text[:1]

    @dbus_method
    async def Free(self, text: str) -> str:
        return text[:1]


@pytest.mark.parametrize("member", ["Wait", "WaitSoon"])
def test_calls_beyond_memory_are_refused_and_others_end(session_bus: Daemon, member: str) -> None:
    with running_task(Slow, *session_bus.argv, "--dbus-max-memory", "1MiB") as task:
        proxy = task.proxy(NAME, PATH, NAME)
        proxy.Free("y")  # it is introspected now, so that calls keep their order
        waiting = [proxy.submit(member, "x" * 300_000) for _ in range(3)]
        with pytest.raises(DBusError, match="too many calls that wait") as caught:
            proxy.call(member, "x" * 300_000)
        assert caught.value.type == "org.freedesktop.DBus.Error.LimitsExceeded"
        assert task.n_refused() == 1
        assert proxy.Free("y") == "y"
        task.release.set()
        task.loop_task.call(task.soon.set)
        assert [future.result(30) for future in waiting] == ["x"] * 3
        for _ in range(8):  # all of it has been given back
            assert proxy.call(member, "x" * 300_000) == "x"
        assert task._calls_running._taken == 0


def test_memory_of_calls_is_always_given_back(session_bus: Daemon) -> None:
    class Failing(Slow):
        @dbus_method
        def Fail(self, text: str) -> int:
            return text  # type: ignore[return-value]

        @dbus_method
        async def Raise(self, text: str) -> int:
            raise LookupError(text)

    with running_task(Failing, *session_bus.argv) as task:
        proxy = task.proxy(NAME, PATH, NAME)
        for member in ("Fail", "Raise"):
            with pytest.raises(DBusError):
                proxy.call(member, "x")
        assert task._calls_running._taken == 0


def test_flood_of_calls_leaves_the_service_small(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SERVICE)
    limit = '<limit name="max_replies_per_connection">100000</limit>'
    with (
        Daemon(tmp_path / "bus", more=limit) as daemon,
        subprocess.Popen(
            [sys.executable, "slow.py", "--dbus-address", daemon.address, "--level", "ERROR"],
            cwd=tmp_path,
        ) as process,
    ):
        try:
            daemon.wait_for_name(NAME)
            before = resident(process.pid)
            assert asyncio.run(flood(daemon.address, 60_000)) > 40_000
            assert resident(process.pid) - before < 120 << 10
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


async def flood(address: str, count: int) -> int:
    """Make calls that nobody answers, and return how many were refused."""
    refused = 0

    def came(bus: Bus, message: Message) -> bool:
        return False

    async def call(bus: Bus) -> None:
        nonlocal refused
        try:
            await bus.exchange(Message(NAME, PATH, NAME, "Wait", signature="s", body=["x" * 20]))
        except DBusError as error:
            refused += error.type == "org.freedesktop.DBus.Error.LimitsExceeded"

    bus = await Bus.to(address, came, False, 32 << 20)
    calls = []
    for _ in range(count):
        calls.append(asyncio.create_task(call(bus)))
        if len(calls) % 500 == 0:
            await asyncio.sleep(0)
    with pytest.raises(DBusError, match="has no method"):
        await bus.exchange(Message(NAME, PATH, NAME, "Nothing"))
    bus.close()
    await asyncio.wait(calls)
    return refused


@pytest.mark.parametrize(
    ("signature", "body", "least"),
    [
        ("", [], 0),
        ("s", ["x" * 1000], 1000),
        ("ay", [bytes(1000)], 1000),
        ("ax", [[1] * 1000], 32_000),
        ("as", [["x" * 100] * 1000], 100_000),
        ("a{sx}", [{str(number): 1 for number in range(1000)}], 60_000),
        ("a{sv}", [{"a": Variant("as", ["x" * 1000] * 10)}], 10_000),
        ("a(ss)", [[["x" * 100, "y" * 100]] * 100], 20_000),
        ("v", [Variant("v", Variant("ay", bytes(1000)))], 1000),
    ],
)
def test_weight_of_call_is_what_its_values_take(
    signature: str, body: list[Any], least: int
) -> None:
    weighed = weight(Message("a.b", "/", "a.b", "C", signature=signature, body=body)) - PER_CALL
    assert least <= weighed <= 4 * least + 1000


def test_size_of_the_memory_is_an_option() -> None:
    with pytest.raises(UsageError, match="dbus-max-memory"):
        make_service(service_of(Slow), "--dbus-max-memory", "much")


class Large(DBusServiceTask):
    BUS_NAME = NAME

    @dbus_method
    def Text(self, length: int) -> str:
        return "x" * length


def test_message_too_large_for_the_bus_is_refused(tmp_path: Path) -> None:
    limit = '<limit name="max_message_size">1000000</limit>'
    with Daemon(tmp_path / "small", more=limit) as daemon:
        argv = ("--dbus-address", daemon.address, "--dbus-max-message", "900KiB")
        with running_task(Large, *argv) as task:
            name, proxy = task.unique_name, task.proxy(NAME, PATH, NAME)
            with pytest.raises(DBusError, match="2000.* is too large: --dbus-max-message"):
                proxy.call("Text", 2_000_000)
            with pytest.raises(TypeError, match="too large"):
                proxy.call("Text", "x" * 2_000_000, signature="s")
            assert len(proxy.call("Text", 900_000)) == 900_000
            assert task.unique_name == name
