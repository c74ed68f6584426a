"""Calling others on the bus: from threads and coroutines, their signals, their names."""

# ruff: noqa: N802 - names as they are on the bus

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sparts.errors import LoopStoppedError
from sparts.states import ServiceStatus
from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.dbus import (
    CallTimeoutError,
    DBusClientTask,
    DBusError,
    DBusServiceTask,
    Proxy,
    dbus_method,
    dbus_property,
    dbus_signal,
)
from sparts.tasks.dbus.watches import SignalMatch
from sparts.testing.running import make_service, running, service_of
from sparts.testing.waiting import Recorder, log_of, wait_ended, wait_status

from tests.dbus.daemons import Daemon

pytestmark = pytest.mark.needs("dbus")

NAME, PATH = "org.example.Radio", "/org/example/Radio"
WAIT = 30


class Radio(DBusServiceTask):
    BUS_NAME = NAME
    RETRY_AFTER = RETRY_MAX_WAIT = 0.01
    release = threading.Event()

    def initTask(self) -> None:
        super().initTask()
        self.volume = 0.5
        self.began = threading.Event()

    @dbus_method
    def Tune(self, megahertz: float) -> str:
        self.Tuned(megahertz)
        return f"{megahertz} MHz"

    @dbus_method
    def Both(self, first: int, second: Any) -> tuple[Any, int]:
        return second, first

    @dbus_method
    def Nothing(self) -> None: ...

    @dbus_method
    async def Hang(self) -> None:
        self.began.set()
        await asyncio.Event().wait()

    @dbus_property
    def Volume(self) -> float:
        return self.volume

    @Volume.setter
    def Volume(self, volume: float) -> None:
        self.volume = volume

    @dbus_signal
    def Tuned(self, megahertz: float) -> None: ...


class Client(DBusClientTask):
    RETRY_AFTER = RETRY_MAX_WAIT = 0.01


def radio_on(bus: Daemon) -> Any:
    return running(service_of(Radio), "--dbus-address", bus.address, "--stop-timeout", "3")


@pytest.fixture
def client(session_bus: Daemon) -> Iterator[DBusClientTask]:
    argv = ("--dbus-client-address", session_bus.address)
    with running(service_of(Client, AsyncioLoopTask), *argv) as service:
        yield service.requireTask(Client)


@pytest.fixture
def radio(session_bus: Daemon) -> Iterator[Radio]:
    with radio_on(session_bus) as service:
        yield service.requireTask(Radio)


@pytest.fixture
def proxy(client: DBusClientTask, radio: Radio) -> Proxy:
    return client.proxy(NAME, PATH)


# -- calls -----------------------------------------------------------------------------------------


def test_call_from_thread_waits_for_its_answer(proxy: Proxy) -> None:
    assert proxy.Tune(99.5) == "99.5 MHz"
    assert proxy.call("Tune", 99.5) == "99.5 MHz"
    assert proxy.submit("Tune", 99.5).result(WAIT) == "99.5 MHz"
    assert proxy.call("Nothing") is None


def test_variants_go_and_come_as_plain_values(proxy: Proxy) -> None:
    value = {"a": [1, "two", {"three": 3.5}], "b": True}
    assert proxy.Both(1, value) == (value, 1)
    assert proxy.Both(-(2**63), 2**64 - 1) == (2**64 - 1, -(2**63))


def test_many_threads_call_at_a_time(proxy: Proxy) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: proxy.Both(n, n)[0], range(200)))
    assert answers == list(range(200))


def test_coroutines_of_any_loop_await_the_answer(client: DBusClientTask, proxy: Proxy) -> None:
    async def ask() -> list[Any]:
        said, before = await proxy.aio.Tune(99.5), await proxy.aio.get("Volume")
        await proxy.aio.set("Volume", 0.25)
        return [said, before, await proxy.aio.get_all()]

    answers = ["99.5 MHz", 0.5, {"Volume": 0.25}]
    assert client.loop_task.call(ask).result(WAIT) == answers
    other = client.service.requireTask(AsyncioLoopTask)
    assert other.call(ask).result(WAIT) == ["99.5 MHz", 0.25, {"Volume": 0.25}]
    assert asyncio.run(ask()) == ["99.5 MHz", 0.25, {"Volume": 0.25}]


def test_blocking_call_in_the_loop_is_refused(client: DBusClientTask, proxy: Proxy) -> None:
    with pytest.raises(RuntimeError, match=r"await proxy\.aio\.Tune\(\)"):
        client.loop_task.call(lambda: proxy.Tune(99.5)).result(WAIT)
    with pytest.raises(RuntimeError, match="await it"):
        client.loop_task.call(lambda: proxy.get("Volume")).result(WAIT)


def test_missing_member_of_the_peer_is_named(client: DBusClientTask, proxy: Proxy) -> None:
    with pytest.raises(
        DBusError, match="has no method Bake in any interface of /org/example/Radio"
    ):
        proxy.Bake()
    with pytest.raises(DBusError, match="has no property Size"):
        proxy.get("Size")
    with pytest.raises(TypeError, match=r"Tune needs arguments of 'd': 1, not "):
        proxy.Tune()
    for each in (proxy, proxy.aio):  # such names are for tools, which look whether there is one
        assert not hasattr(each, "_private")
    with pytest.raises(DBusError) as caught:
        client.proxy("org.example.Nobody", "/x").Tune()
    assert caught.value.type == "org.freedesktop.DBus.Error.ServiceUnknown"


def test_call_that_nobody_answers_ends_with_its_timeout(
    client: DBusClientTask, proxy: Proxy
) -> None:
    with pytest.raises(CallTimeoutError, match=r"did not answer Hang at .* within 0\.05 s"):
        proxy.call("Hang", timeout=0.05)
    client.setTaskOption("timeout", "50ms")
    with pytest.raises(TimeoutError):
        proxy.Hang()
    assert proxy.call("Tune", 1.0, timeout=None) == "1.0 MHz"


def test_call_fails_when_the_bus_is_lost(
    session_bus: Daemon, client: DBusClientTask, proxy: Proxy, radio: Radio
) -> None:
    future = proxy.submit("Hang", timeout=None)
    assert radio.began.wait(WAIT)
    session_bus.kill()
    error = future.exception(WAIT)
    assert isinstance(error, DBusError)
    assert error.type == "org.freedesktop.DBus.Error.Disconnected"
    wait_status(client.service, ServiceStatus.WARNING)
    with pytest.raises(DBusError, match="lost"):
        proxy.Tune(1.0)
    session_bus.start_for(client.service, radio.service)
    assert proxy.Tune(1.0) == "1.0 MHz"


def test_a_proxy_outlives_the_other_side(
    session_bus: Daemon, client: DBusClientTask, radio: Radio, proxy: Proxy
) -> None:
    assert proxy.Tune(1.0) == "1.0 MHz"
    radio.service.shutdown()
    assert radio.service.join(WAIT)
    with pytest.raises(DBusError):
        proxy.Tune(1.0)
    with radio_on(session_bus):
        assert proxy.Tune(2.0) == "2.0 MHz"


def test_call_that_is_under_way_at_stop_ends(session_bus: Daemon, radio: Radio) -> None:
    with running(service_of(Client), "--dbus-client-address", session_bus.address) as service:
        future = service.requireTask(Client).proxy(NAME, PATH).submit("Hang", timeout=None)
        assert radio.began.wait(WAIT)
    assert isinstance(future.exception(WAIT), DBusError | LoopStoppedError)
    with pytest.raises(LoopStoppedError):
        service.requireTask(Client).proxy(NAME, PATH).Tune(1.0)


# -- signals ---------------------------------------------------------------------------------------


def test_a_callback_hears_signals_until_it_is_cancelled(
    client: DBusClientTask, proxy: Proxy, radio: Radio
) -> None:
    heard, all_heard = Recorder[float](), Recorder[tuple[Any, ...]]()
    subscription = proxy.on("Tuned", heard)
    proxy.on(None, lambda *args: all_heard(args), interface=NAME)
    radio.Tuned(1.0)
    radio.Tuned(2.0)
    assert heard.wait(2) == [1.0, 2.0]
    assert all_heard.wait(2) == [(1.0,), (2.0,)]
    subscription.cancel()
    client.loop_task.call(int).result(WAIT)
    radio.Tuned(3.0)
    assert all_heard.wait(3)[-1] == (3.0,)
    assert heard.items == [1.0, 2.0]


def test_signals_of_others_are_not_heard(
    session_bus: Daemon, client: DBusClientTask, proxy: Proxy, radio: Radio
) -> None:
    class Fake(Radio):
        BUS_NAME = "org.example.Fake"
        INTERFACE = NAME
        PATH = PATH
        OPT_PREFIX = "fake"

    heard = Recorder[float]()
    proxy.on("Tuned", heard)
    client.proxy("org.example.Fake", PATH).on("Tuned", lambda _: None)
    with running(service_of(Fake), "--fake-address", session_bus.address) as service:
        service.requireTask(Fake).Tuned(666.0)
        client.proxy("org.example.Fake", PATH).call("Tune", 666.0)
    radio.Tuned(1.0)
    assert heard.wait(1) == [1.0]


@pytest.mark.parametrize("error", [IndexError, asyncio.CancelledError, GeneratorExit])
def test_raising_callback_is_logged_and_others_go_on(
    client: DBusClientTask, proxy: Proxy, radio: Radio, error: type[BaseException]
) -> None:
    def fail(megahertz: float) -> None:
        raise error

    heard = Recorder[float]()
    proxy.on("Tuned", fail)
    proxy.on("Tuned", heard)
    with log_of(client.service) as log:
        radio.Tuned(1.0)
        assert heard.wait(1) == [1.0]
        log.wait_for_line("ERROR:.*A callback for SignalMatch")


def test_callback_that_exits_ends_service_in_order(
    client: DBusClientTask, proxy: Proxy, radio: Radio
) -> None:
    proxy.on("Tuned", lambda megahertz: sys.exit())
    radio.Tuned(1.0)
    assert wait_ended(client.service) is None


@pytest.mark.parametrize("where", ["this loop", "another loop", "a loop of its own"])
def test_signals_come_to_a_coroutine(
    client: DBusClientTask, proxy: Proxy, radio: Radio, where: str
) -> None:
    async def listen() -> list[float]:
        heard: list[float] = []
        async with proxy.signals("Tuned") as signals:
            await proxy.aio.Tune(1.0)
            await proxy.aio.Tune(2.0)
            async for (megahertz,) in signals:
                heard.append(megahertz)
                if len(heard) == 2:
                    break
        return heard

    if where == "a loop of its own":
        assert asyncio.run(listen()) == [1.0, 2.0]
    else:
        task = client.loop_task if where == "this loop" else client.service.tasks[0]
        assert task.call(listen).result(WAIT) == [1.0, 2.0]


def test_signals_to_a_coroutine_end_with_the_task(session_bus: Daemon, radio: Radio) -> None:
    began = threading.Event()

    async def listen(proxy: Proxy) -> str:
        async with proxy.signals("Tuned") as signals:
            began.set()
            async for _ in signals:
                pass
        return "ended"

    said: list[str] = []
    with running(service_of(Client), "--dbus-client-address", session_bus.address) as service:
        proxy = service.requireTask(Client).proxy(NAME, PATH)
        thread = threading.Thread(target=lambda: said.append(asyncio.run(listen(proxy))))
        thread.start()
        assert began.wait(WAIT)
    thread.join(WAIT)
    assert said == ["ended"]


def test_subscriptions_outlive_a_lost_bus(
    session_bus: Daemon, client: DBusClientTask, proxy: Proxy, radio: Radio
) -> None:
    heard = Recorder[float]()
    proxy.on("Tuned", heard)
    session_bus.kill_under(client.service, radio.service)
    session_bus.start_for(client.service, radio.service)
    proxy.Tune(7.0)
    assert heard.wait(1) == [7.0]


# -- names -----------------------------------------------------------------------------------------


def test_name_is_watched_as_it_comes_and_goes(session_bus: Daemon, client: DBusClientTask) -> None:
    owners = Recorder[str]()
    subscription = client.watch_name(NAME, owners)
    assert owners.items == []
    with radio_on(session_bus) as service:
        assert owners.wait(1) == [service.requireTask(Radio).unique_name]
    assert owners.wait(2)[-1] == ""
    with radio_on(session_bus) as service:
        assert owners.wait(3)[-1] == service.requireTask(Radio).unique_name
        again = Recorder[str]()
        client.watch_name(NAME, again)
        assert again.wait(1) == [service.requireTask(Radio).unique_name]
        subscription.cancel()
    assert again.wait(2)[-1] == ""
    assert len(owners.items) == 3


def test_owner_is_asked_for_again_after_cancel(session_bus: Daemon, client: DBusClientTask) -> None:
    heard = Recorder[float]()
    for megahertz in (1.0, 2.0):
        with radio_on(session_bus) as service:
            radio = service.requireTask(Radio)
            owners = Recorder[str]()
            watch = client.watch_name(NAME, owners)
            assert owners.wait(1) == [radio.unique_name]
            subscription = client.proxy(NAME, PATH).on("Tuned", heard)
            radio.Tuned(megahertz)
            assert heard.wait(int(megahertz))[-1] == megahertz
            for each in (watch, subscription):  # while the name still has this owner
                client.loop_task.call(client._watches.remove, each).result()
    assert client._watches._owners == {}


def test_cancelled_subscription_leaves_no_rule(
    session_bus: Daemon, client: DBusClientTask, caplog: pytest.LogCaptureFixture
) -> None:
    def begin_and_cancel() -> None:
        subscription = client.subscribe(SignalMatch(NAME, None, None, "Tuned"), print)
        # By then the first of its two rules is under way to the bus.
        asyncio.get_running_loop().call_soon(client._watches.remove, subscription)

    client.loop_task.call(begin_and_cancel).result()
    owners = Recorder[str]()
    client.watch_name(NAME, owners)
    with radio_on(session_bus):
        owners.wait(1)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert list(client._watches._counts.values()) == [1]


def test_watched_name_without_bus_has_no_owner(
    session_bus: Daemon, client: DBusClientTask, radio: Radio
) -> None:
    owners = Recorder[str]()
    client.watch_name(NAME, owners)
    owners.wait(1)
    session_bus.kill()
    assert owners.wait(2)[-1] == ""
    session_bus.start()
    assert owners.wait(3)[-1].startswith(":1.")


def test_a_client_alone_is_a_task_by_name(session_bus: Daemon) -> None:
    argv = ("--dbus-client-address", session_bus.address)
    with running(service_of("DBusClientTask"), *argv) as service:
        assert service.getOption("dbus_client_timeout") == 25.0
        bus = service.requireTask("DBusClientTask").proxy(
            "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"
        )
        assert "org.freedesktop.DBus" in bus.ListNames()
    service = make_service(service_of("DBusClientTask"), "--dbus-client-address", "unix:path=/no")
    with pytest.raises(Exception, match="There is no bus at unix:path=/no"):
        service.startBG()
