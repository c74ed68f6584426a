"""RPC over thrift: what the contract of transports leaves out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import trustme
from sparts.errors import UsageError
from sparts.rpc import (
    NoSuchMethodError,
    RPCTask,
    UnavailableError,
    connect,
    connect_async,
    interface_of,
    rpc,
)
from sparts.tasks.thrift.rpc import RPCThriftTask
from sparts.testing.rpc.kit import Kit, Point
from sparts.testing.running import ServiceFactory, service_of
from sparts.testing.waiting import WAIT, restart
from sparts.thrift.rpc.idl import idl

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
    with connect("thrift://127.0.0.1:1", OtherOdd) as proxy:
        with pytest.raises(UnavailableError, match="Is it running") as raised:
            proxy.missing()
        assert not raised.value.maybe_run


def test_a_unix_socket_needs_no_multiplexing(tmp_path: Path) -> None:
    factory = ServiceFactory()
    path = tmp_path / "rpc.sock"
    factory(service_of(OddTask, RPCThriftTask), "--rpc-thrift-sock", str(path))
    with connect(f"thrift://{path}", OddTask, multiplex=False) as proxy:
        assert proxy.total(iter([1])) == 1
    factory.close()


@pytest.mark.parametrize("url", ["thrift:", "thrift://host:1/path", "thrift:a"])
def test_a_url_without_a_place_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="thrift://HOST:PORT"):
        connect(url, OddTask)


class Unsigned(RPCTask):
    @rpc
    def run(self, a: list[Annotated[int, msgspec.Meta(ge=0, le=2**64 - 1)]]) -> None: ...


class Lists(RPCTask):
    @rpc
    def run(self) -> list[int] | list[str]: ...  # type: ignore[empty-body]


@dataclass
class Grün:
    x: int


class Named(RPCTask):
    @rpc
    def run(self, a: Grün) -> None: ...


@dataclass
class OptionalI64:
    x: int


class Clash(RPCTask):
    @rpc
    def run(self, a: list[int | None], b: OptionalI64) -> None: ...


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Unsigned,
            r"thrift cannot carry Unsigned.run, parameter a\[...\]: .*: it has no ints beyond 64",
        ),
        (Lists, r"thrift cannot carry Lists.run, result: .*have values of one class, list"),
        (Named, r"thrift cannot carry Named.run, parameter a: Grün: 'Grün' can be no name"),
        (Clash, r"thrift cannot carry Clash.run, b: OptionalI64: two things .* OptionalI64"),
    ],
)
def test_what_thrift_cannot_carry_ends_the_start(task: type[RPCTask], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        idl([interface_of(task)])
    factory = ServiceFactory()
    with pytest.raises(UsageError, match=message):
        factory(service_of(task, RPCThriftTask), *ARGV)
    factory.close()


def test_calls_over_tls_are_made_and_awaited(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    factory = ServiceFactory()
    tls = ("--rpc-thrift-tls-cert", str(certificate), "--rpc-thrift-tls-key", str(key))
    service = factory(service_of(OddTask, RPCThriftTask), *ARGV, *tls)
    url = f"thrift://127.0.0.1:{service.requireTask(RPCThriftTask).bound_port}"
    with connect(url, OddTask, ssl=context) as odd:
        assert odd.total(iter([1, 2])) == 3

    async def main() -> Any:
        async with connect_async(url, OddTask, ssl=context) as odd:
            return await odd.total(iter([3]))

    assert asyncio.run(main()) == 3
    factory.close()


def test_calls_go_on_after_a_restart(service_factory: ServiceFactory, tmp_path: Path) -> None:
    path = str(tmp_path / "rpc.sock")
    service = service_factory(service_of(Kit, RPCThriftTask), "--rpc-thrift-sock", path)
    with connect(f"thrift://{path}", Kit) as kit:
        assert kit.distance(Point(0.0, 0.0), Point(3.0, 4.0)) == 5.0
        restart(service)
        assert kit.distance(Point(0.0, 0.0), Point(3.0, 4.0)) == 5.0


def test_a_call_in_a_thread_is_in_flight() -> None:
    factory = ServiceFactory()
    service = factory(service_of(Kit, RPCThriftTask), *ARGV)
    kit: Kit = service.requireTask(Kit)
    url = f"thrift://127.0.0.1:{service.requireTask(RPCThriftTask).bound_port}"
    with connect(url, Kit, timeout=None) as proxy, ThreadPoolExecutor(1) as thread:
        result = thread.submit(proxy.hold)
        assert kit.entered.wait(WAIT)
        assert service.getCounter("Kit.in_flight") == 1
        kit.release.set()
        assert result.result(WAIT) == "released"
    factory.close()
