"""RPC over thrift: what the contract of transports leaves out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sparts.rpc import (
    NoSuchMethodError,
    RPCTask,
    connect,
    connect_async,
    rpc,
)
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.rpc.kit import Kit, Point
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import WAIT, restart

from tests.certificates import trusting
from tests.rpc.odd import OddTask

ARGV = ("--rpc-thrift-host", "127.0.0.1", "--rpc-thrift-port", "0")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    factory = ServiceFactory()
    service = factory(service_of(OddTask, Kit, RPCThriftTask), *ARGV)
    yield f"thrift://127.0.0.1:{service.requireTask(RPCThriftTask).bound_port}"
    factory.close()


class OtherOdd(RPCTask):
    @rpc
    def missing(self) -> None:
        """Be missing at the server."""


def test_unknown_methods_and_servers_are_told_apart(url: str) -> None:
    other: Any = type("OddTask", (OtherOdd,), {})
    with connect(url, other) as proxy, pytest.raises(NoSuchMethodError, match="no method"):
        proxy.missing()
    with connect(url, OtherOdd) as proxy, pytest.raises(NoSuchMethodError, match="no service"):
        proxy.missing()


def test_a_unix_socket_needs_no_multiplexing(
    service_factory: ServiceFactory, tmp_path: Path
) -> None:
    path = tmp_path / "rpc.sock"
    service_factory(service_of(OddTask, RPCThriftTask), "--rpc-thrift-sock", str(path))
    with connect(f"thrift://{path}", OddTask, multiplex=False) as proxy:
        assert proxy.total(iter([1])) == 1


def test_calls_over_tls_are_made_and_awaited(service_factory: ServiceFactory, pem: str) -> None:
    service = service_factory(
        service_of(OddTask, RPCThriftTask), *ARGV, "--rpc-thrift-tls-cert", pem
    )
    url = f"thrift://localhost:{service.requireTask(RPCThriftTask).bound_port}"
    with connect(url, OddTask, ssl=trusting()) as odd:
        assert odd.total(iter([1, 2])) == 3

    async def main() -> Any:
        async with connect_async(url, OddTask, ssl=trusting()) as odd:
            return await odd.total(iter([3]))

    assert asyncio.run(main()) == 3


def test_calls_go_on_after_a_restart(service_factory: ServiceFactory, tmp_path: Path) -> None:
    path = str(tmp_path / "rpc.sock")
    service = service_factory(service_of(Kit, RPCThriftTask), "--rpc-thrift-sock", path)
    with connect(f"thrift://{path}", Kit) as kit:
        assert kit.distance(Point(0.0, 0.0), Point(3.0, 4.0)) == 5.0
        restart(service)
        assert kit.distance(Point(0.0, 0.0), Point(3.0, 4.0)) == 5.0


def test_a_call_in_a_thread_is_in_flight(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(Kit, RPCThriftTask), *ARGV)
    kit: Kit = service.requireTask(Kit)
    url = f"thrift://127.0.0.1:{service.requireTask(RPCThriftTask).bound_port}"
    with connect(url, Kit, timeout=None) as proxy, ThreadPoolExecutor(1) as thread:
        result = thread.submit(proxy.hold)
        assert kit.entered.wait(WAIT)
        assert service.getCounter("Kit.in_flight") == 1
        kit.release.set()
        assert result.result(WAIT) == "released"
