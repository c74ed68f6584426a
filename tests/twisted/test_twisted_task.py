"""TwistedTask and TwistedServiceTask: their start and stop in the reactor, endpoints, the wait."""

from __future__ import annotations

import queue
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import StartError, UsageError
from sparts.tasks.twisted import (
    TwistedReactorTask,
    TwistedServerTask,
    TwistedServiceTask,
    TwistedTask,
)
from sparts.testing.conformance import check_task
from sparts.testing.loops import WAIT
from sparts.testing.running import ServiceFactory, make_service, running_task, service_of
from sparts.testing.waiting import log_of
from twisted.application.internet import StreamServerEndpointService, TimerService
from twisted.application.service import MultiService
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

from tests.processes import ServiceProcess

ROOT = Path(__file__).parents[2]


class Echo(Protocol):
    transport: Any

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        self.transport.write(data)


class EchoTask(TwistedTask):
    """Echoes what it receives."""

    endpoint = "tcp:0:interface=127.0.0.1"
    protocol: Any = Echo

    def make_factory(self) -> Any:
        return Factory.forProtocol(self.protocol)


def flood(size: int, **attributes: Any) -> type[EchoTask]:
    """Return a task that sends so many bytes to each client."""

    class Floods(Protocol):
        def connectionMade(self) -> None:  # noqa: N802
            transport: Any = self.transport
            transport.write(b"x" * size)

    return type("Flood", (EchoTask,), {"protocol": Floods, **attributes})


def ask(address: Any, text: bytes = b"ping") -> None:
    family = socket.AF_UNIX if isinstance(address, str | bytes) else socket.AF_INET
    with socket.socket(family) as connection:
        connection.settimeout(WAIT)
        connection.connect(address)
        connection.sendall(text)
        assert connection.recv(len(text)) == text


# -- endpoints -------------------------------------------------------------------------------------


def test_endpoint_is_served_from_start_to_stop(service_factory: ServiceFactory) -> None:
    for kind in ("epoll", "asyncio"):
        service = service_factory(service_of(EchoTask), "--twisted-reactor", kind)
        [address] = service.requireTask(EchoTask).bound_addrs
        ask(address)
        service_factory.stop(service)
        with pytest.raises(ConnectionRefusedError):
            ask(address)


def test_served_address_is_logged_early() -> None:
    service = make_service(service_of(EchoTask))
    with log_of(service) as log:
        thread = service.startBG()
        (host, port) = service.requireTask(EchoTask).bound_addrs[0]
        service.shutdown()
        thread.join()
    line = f"INFO:Service.EchoTask:EchoTask Server Started on {host}:{port}"
    assert log.items.index(line) < log.items.index("DEBUG:Service:All tasks started")


def test_a_unix_endpoint_is_served_and_removed(tmp_path: Path) -> None:
    class OnUnix(EchoTask):
        endpoint = f"unix:{tmp_path}/socket"

    with running_task(OnUnix) as task:
        ask(task.bound_addrs[0])
    assert list(tmp_path.glob("socket")) == []


def test_endpoint_in_use_fails_start_and_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:

        class Taken(EchoTask):
            endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"

        with pytest.raises(StartError, match=r"Taken cannot listen on 'tcp:\d+.*: Address already"):
            make_service(service_of(Taken)).startBG()


def test_what_is_no_endpoint_is_wrong_use() -> None:
    class Wrong(EchoTask):
        endpoint = "tpc:0"

    with pytest.raises(UsageError, match=r"Wrong\.endpoint is 'tpc:0'"):
        make_service(service_of(Wrong)).startBG()


@pytest.mark.parametrize("limit", ["25s", "1s"])
def test_open_connections_end_after_their_data(limit: str) -> None:
    with running_task(flood(10_000_000), "--stop-timeout", limit) as task:
        connection = socket.create_connection(task.bound_addrs[0], WAIT)
        connection.recv(1, socket.MSG_PEEK)
        task.service.shutdown()
        with connection:
            received = 0
            while data := connection.recv(1 << 20):
                received += len(data)
    assert received == 10_000_000


def test_client_without_reading_is_cut_off() -> None:
    task_type = flood(50_000_000, seconds_to_stop=lambda _: 0.0)
    with running_task(task_type, "--stop-timeout", "1h") as task, log_of(task.service) as log:
        with socket.create_connection(task.bound_addrs[0], WAIT) as connection:
            connection.recv(1, socket.MSG_PEEK)
            task.service.shutdown()
            assert task.service.join(WAIT)
        log.wait_for_line("WARNING:Service.Flood:Connections cut off, which took too long: 1")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_endpoint_is_served_although_super_is_not_called(kind: str) -> None:
    def plain(task: Any) -> None:
        task.own = True

    async def asynchronous(task: Any) -> None:
        task.own = True

    start = plain if kind == "plain" else asynchronous
    own: Any = type("Own", (EchoTask,), {"start_in_loop": start})
    with running_task(own) as task:
        assert task.own
        ask(task.bound_addrs[0])


# -- isDoneWithReactor -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["epoll", "poll", "select", "asyncio"])
def test_reactor_runs_until_task_is_done_with_it(kind: str) -> None:
    seen: list[str] = []

    class Busy(TwistedTask):
        asked = 0
        work = 3

        def isDoneWithReactor(self) -> bool:  # noqa: N802
            self.asked += 1
            return not self.work

        def stop_in_loop(self) -> None:
            self.reactor.callLater(0.01, self.do)

        def do(self) -> None:
            assert self.reactor.running
            seen.append("worked")
            self.work -= 1
            self.reactor.callLater(0.01, self.do)

    with running_task(Busy, "--twisted-reactor", kind) as task:
        assert not task.asked
    assert seen[:3] == ["worked"] * 3
    if kind != "poll":  # which turns often before a timer is due
        assert task.asked <= 20  # as often as something happened, and not in between


def test_data_or_calls_ask_the_reactor_again() -> None:
    class Tells(Protocol):
        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            UntilTold.told = True

    class UntilTold(EchoTask):
        protocol, told = Tells, False

        def isDoneWithReactor(self) -> bool:  # noqa: N802
            asked.set()
            return self.told

    for kind in ("epoll", "asyncio"):
        for way in ("data", "thread"):
            asked, UntilTold.told = threading.Event(), False
            with (
                running_task(UntilTold, "--twisted-reactor", kind) as task,
                socket.create_connection(task.bound_addrs[0], WAIT) as connection,
            ):
                connection.sendall(b"")
                task.loop_task.call(int).result(WAIT)
                task.service.shutdown()
                assert asked.wait(WAIT)
                if way == "data":
                    connection.sendall(b"done")
                    connection.recv(1)
                else:
                    UntilTold.told = True
                    task.loop_task.call(int)
                    connection.recv(1)


def test_error_in_is_done_ends_with_1() -> None:
    class Broken(TwistedTask):
        def isDoneWithReactor(self) -> bool:  # noqa: N802
            raise ValueError("how should I know")

    thread = make_service(service_of(Broken)).startBG()
    thread.service.shutdown()
    with pytest.raises(Exception, match="how should I know"):
        thread.join()
    assert thread.status == 1


class Stubborn(TwistedTask):
    """Never is done."""

    def isDoneWithReactor(self) -> bool:  # noqa: N802
        return False


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_endless_one_ends_at_the_deadline(kind: str) -> None:
    script = (
        "from sparts.testing.running import service_of\n"
        "from tests.twisted.test_twisted_task import Stubborn\n"
        "service_of(Stubborn).initFromCLI()"
    )
    command = [sys.executable, "-X", "dev", "-c", script, "--stop-timeout", "0.3s"]
    with ServiceProcess([*command, "--twisted-reactor", kind], cwd=ROOT) as process:
        process.read_until_started()
        assert process.stop() == 70
        process.read_line("Not stopped, although 0.3 s have passed: TwistedReactorTask, Stubborn")


# -- services --------------------------------------------------------------------------------------


class Services(TwistedServiceTask):
    """Runs two services of Twisted's."""

    def make_service(self) -> Any:
        self.ticked = threading.Event()
        services = MultiService()
        TimerService(0.001, self.ticked.set).setServiceParent(services)
        endpoint = serverFromString(self.reactor, "tcp:0:interface=127.0.0.1")
        self.echo = StreamServerEndpointService(endpoint, Factory.forProtocol(Echo))
        self.echo.setServiceParent(services)
        return services


def test_service_of_twisteds_runs_from_start_to_stop() -> None:
    services: Any = Services
    with running_task(services) as task:
        assert task.ticked.wait(WAIT)
        port = task.loop_task.call(lambda: task.echo._waitingForPort.result.getHost().port)
        address = ("127.0.0.1", port.result(WAIT))
        ask(address)
    assert not task.twisted_service.running
    with pytest.raises(ConnectionRefusedError):
        ask(address)


@pytest.mark.parametrize("task", [EchoTask, Services, TwistedReactorTask])
def test_each_does_what_every_task_must(task: Any) -> None:
    check_task(task)


@pytest.mark.parametrize("kind", ["epoll", "asyncio"])
def test_endpoint_that_cannot_accept_warns_and_goes_on(
    kind: str, service_factory: ServiceFactory
) -> None:
    service = service_factory(service_of(EchoTask), "--twisted-reactor", kind)
    task = service.requireTask(EchoTask)
    [address] = task.bound_addrs
    listener = task._ports[0]._port.socket.dup()
    with log_of(service) as log, listener:
        listener.shutdown(socket.SHUT_RDWR)
        log.wait_for_line("WARNING:Service:EchoTask: No connection can be accepted for now")
        listener.bind(address)
        listener.listen()
        ask(address)
        log.wait_for_line("INFO:.*No longer true: No connection can be accepted for now")


@pytest.mark.parametrize("server", [EchoTask, TwistedServerTask])
def test_accepted_connections_send_without_delay(
    server: Any, service_factory: ServiceFactory
) -> None:
    made: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Telling(Protocol):
        def connectionMade(self) -> None:  # noqa: N802
            made.put(self.transport.getTcpNoDelay())  # type: ignore[union-attr]

    factory = {"make_factory": lambda _: Factory.forProtocol(Telling), "OPT_PREFIX": "nodelay"}
    Task = type("Task", (server,), factory)  # noqa: N806
    service = service_factory(service_of(Task))
    address: Any = service.requireTask(Task).bound_addrs[0]
    with socket.create_connection(("127.0.0.1", address[1]), WAIT):
        assert made.get(timeout=WAIT)
