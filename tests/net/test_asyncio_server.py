"""AsyncioServerTask: any asyncio protocol, with the sockets, limits, restarts and stop of ours."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from sparts.errors import OptionError
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.testing import ServiceFactory, log_of, restart, running, service_of, wait_for_event
from sparts.testing.certificates import FIRST_CERTIFICATE
from sparts.testing.servers import ServerContract
from sparts.testing.waiting import WAIT
from sparts.vtask import RestartPolicy

from tests.processes import run_to_end

HERE = ("--lines-host", "127.0.0.1", "--lines-port", "0")


class Lines(asyncio.Protocol):
    """Answers each line with itself; ``wait`` when the task says so, which is a slow request."""

    def __init__(self, task: LineServer) -> None:
        self.task, self.busy, self.ending, self.asked = task, 0, False, False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.task.made.append(self)

    def data_received(self, data: bytes) -> None:
        self.asked = True
        for line in data.splitlines(keepends=True):
            self.busy += 1
            if line == b"wait\n":
                self.task.waiting.append(self)
                self.task.told.set()
            else:
                self.answer(line)

    def answer(self, line: bytes) -> None:
        self.transport.write(line)
        self.busy -= 1
        if self.ending and not self.busy:
            self.transport.close()

    def drain(self) -> None:
        self.ending = True
        if self.asked and not self.busy:
            self.transport.close()
        elif not self.asked:
            asyncio.get_running_loop().call_later(self.task.FIRST_REQUEST_GRACE, self.give_up)

    def give_up(self) -> None:
        if not self.asked:
            self.transport.close()


class LineServer(AsyncioServerTask):
    """Serves lines."""

    OPT_PREFIX = "lines"

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        self.made: list[Lines] = []
        self.waiting: list[Lines] = []
        self.told = asyncio.Event()

    def make_protocol(self) -> asyncio.BaseProtocol:
        return Lines(self)


def connect(service: Any) -> socket.socket:
    (address,) = service.requireTask("LineServer").bound_addrs
    return socket.create_connection(address, WAIT)


def ask(connection: socket.socket) -> None:
    connection.sendall(b"ping\n")
    assert connection.recv(5) == b"ping\n"


class LinesContract(ServerContract):
    """How to talk to these servers."""

    def ask(self, connection: socket.socket) -> None:
        ask(connection)


class TestLineServer(LinesContract):
    """The contract of every server of ours."""

    server_task = LineServer


class TestLineServerOnUvloop(LinesContract):
    """The same on another loop."""

    server_task = LineServer
    argv = ("--asyncio-uvloop",)


class Plain(asyncio.Protocol):
    """A protocol without `drain`."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class PlainServer(AsyncioServerTask):
    """Serves a protocol that knows nothing of stops."""

    OPT_PREFIX = "lines"
    FIRST_REQUEST_GRACE = 0.05

    def make_protocol(self) -> asyncio.BaseProtocol:
        return Plain()


class TestPlainServer(LinesContract):
    """The contract, with any protocol."""

    server_task = PlainServer


def begin_slow_request(service: Any) -> socket.socket:
    connection = connect(service)
    task = service.requireTask("LineServer")
    connection.sendall(b"wait\n")
    loop = service.requireTask("AsyncioLoopTask")
    loop.call(task.told.wait).result(WAIT)
    return connection


def finish_slow_request(service: Any) -> None:
    task = service.requireTask("LineServer")
    service.requireTask("AsyncioLoopTask").call(lambda: task.waiting[0].answer(b"done\n")).result(
        WAIT
    )


@pytest.mark.parametrize("again", [False, True], ids=["stop", "restart"])
def test_what_has_begun_is_answered(again: bool) -> None:
    with (
        running(service_of(LineServer), *HERE) as service,
        begin_slow_request(service) as connection,
    ):
        service.restart() if again else service.shutdown()
        wait_for_event(service.requireTask("LineServer").stop_event, "the stop")
        finish_slow_request(service)
        assert connection.recv(5) == b"done\n"
        assert connection.recv(1) == b""


def test_slow_client_is_cut_off_and_logged() -> None:
    with (
        running(service_of(LineServer), *HERE, "--stop-timeout", "1") as service,
        log_of(service) as log,
        begin_slow_request(service) as connection,
    ):
        service.shutdown()
        assert connection.recv(5) == b""
        log.wait_for_line("WARNING:.*Connections cut off.*: 1")


def test_one_connection_more_is_refused_and_counted() -> None:
    arguments = (*HERE, "--lines-max-connections", "1")
    with running(service_of(LineServer), *arguments) as service, connect(service) as first:
        ask(first)
        assert service.getCounter("LineServer.connections") == 1
        with log_of(service) as log, connect(service) as second:
            assert second.recv(1) == b""
            log.wait_for_line("too many connections are open")
        assert service.getCounter("LineServer.refused") == 1
        ask(first)


def test_no_connection_at_all_is_refused_as_option() -> None:
    with (
        pytest.raises(OptionError, match="--lines-max-connections must be 1 or more"),
        running(service_of(LineServer), *HERE, "--lines-max-connections", "0"),
    ):
        pass


class Broken(LineServer):
    """Its first connection has no protocol."""

    broken = True

    def make_protocol(self) -> asyncio.BaseProtocol:
        if self.broken:
            self.broken = False
            raise RuntimeError("no protocol")
        return super().make_protocol()


def test_failing_protocol_costs_its_connection_alone() -> None:
    broken = type("LineServer", (Broken,), {})
    with running(service_of(broken), *HERE) as service, log_of(service) as log:
        with connect(service) as first:
            assert first.recv(1) == b""
        log.wait_for_line("ERROR:.*A connection could not be served")
        with connect(service) as second:
            ask(second)


def test_handshake_under_way_does_not_hold_up_stop(tmp_path: Any) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_text(FIRST_CERTIFICATE)
    arguments = (*HERE, "--lines-tls-cert", str(certificate))
    with running(service_of(LineServer), *arguments) as service, connect(service) as silent:
        context = ssl._create_unverified_context()  # noqa: S323
        with connect(service) as second, context.wrap_socket(second) as connection:
            ask(connection)  # the silent one came before: it has been accepted
        service.shutdown()
        assert service.join(WAIT)
        assert silent.recv(1) == b""


@pytest.mark.parametrize("uvloop", [False, True], ids=["asyncio", "uvloop"])
def test_restarted_loop_serves_again_and_leaves_nothing(
    service_factory: ServiceFactory, uvloop: bool
) -> None:
    policy = RestartPolicy("on-failure", first_wait=0.001)
    loop_class = type("AsyncioLoopTask", (AsyncioLoopTask,), {"RESTART": policy})
    argv = ("--asyncio-uvloop",) if uvloop else ()
    service_factory.warm_up(service_of(loop_class), *argv)
    service = service_factory(service_of(LineServer, loop_class), *HERE, *argv)
    loop_task = service.requireTask("AsyncioLoopTask")
    with connect(service) as before:
        ask(before)
        loop_task.call(loop_task.loop.stop)
        assert before.recv(1) == b""
    for _ in range(2):  # the second is accepted only when the first has been
        with connect(service) as after:
            ask(after)
    assert loop_task.supervisor.n_restarts() == 1


def test_each_restart_keeps_what_waits_and_serves_it() -> None:
    with running(service_of(LineServer), *HERE) as service:
        for _ in range(3):
            service = restart(service)
            with connect(service) as connection:
                ask(connection)


def test_modules_that_few_need_are_not_imported(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from sparts.tasks.asyncio_server import AsyncioServerTask\n"
        "from sparts.testing.running import running, service_of\n"
        "class Plain(AsyncioServerTask):\n"
        "    def make_protocol(self):\n"
        "        return asyncio.Protocol()\n"
        "with running(service_of(Plain), '--Plain-host', '127.0.0.1'):\n"
        "    few = ('certificates', 'inherited', 'sharing', 'tls', 'unix_sockets')\n"
        "    print([each for each in few if f'sparts.net.{each}' in sys.modules])\n"
    )
    status, output = run_to_end([sys.executable, "-c", script], cwd=tmp_path)
    assert status == 0
    assert "[]" in output.splitlines()
