"""AsyncioServerTask: any asyncio protocol, with the sockets, limits, restarts and stop of ours."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.testing import ServiceFactory, log_of, running, service_of, wait_for_event
from sparts.testing.servers import ServerContract
from sparts.testing.waiting import WAIT
from sparts.vtask import RestartPolicy

from tests.certificates import over_tls

HERE = ("--lines-host", "127.0.0.1", "--lines-port", "0")


class Lines(asyncio.Protocol):
    """Answers with what it gets, and knows nothing of stops."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class LineServer(AsyncioServerTask):
    """Serves them."""

    OPT_PREFIX = "lines"
    FIRST_REQUEST_GRACE = 0.05
    protocol = Lines

    def make_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol()


def connect(service: Any) -> socket.socket:
    (address,) = service.requireTask("LineServer").bound_addrs
    return socket.create_connection(address, WAIT)


def ask(connection: socket.socket) -> None:
    connection.sendall(b"ping\n")
    assert connection.recv(5) == b"ping\n"


class TestLineServer(ServerContract):
    """The contract of every server of ours."""

    server_task = LineServer

    def ask(self, connection: socket.socket) -> None:
        """Have a line answered."""
        ask(connection)


class TestLineServerOnUvloop(TestLineServer):
    """The same on another loop."""

    argv = ("--asyncio-uvloop",)


class Lingers(Lines):
    """Ends only with its client."""

    def drain(self) -> None: ...


def test_what_outlives_the_stop_is_cut_off() -> None:
    lingering = type("LineServer", (LineServer,), {"protocol": Lingers})
    with (
        running(service_of(lingering), *HERE, "--stop-timeout", "1") as service,
        log_of(service) as log,
        connect(service) as connection,
    ):
        ask(connection)
        service.shutdown()
        wait_for_event(service.requireTask("LineServer").stop_event, "the stop")
        ask(connection)
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


def test_handshake_under_way_does_not_hold_up_stop(pem: str) -> None:
    arguments = (*HERE, "--lines-tls-cert", pem)
    with running(service_of(LineServer), *arguments) as service, connect(service) as silent:
        with connect(service) as second, over_tls(second) as connection:
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
