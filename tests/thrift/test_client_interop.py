"""Our clients call servers of Apache's and of thriftpy2's: every type, in every protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask, ThriftServerTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.testing.running import running
from sparts.thrift.client import AsyncThriftClient, ThriftClient
from sparts.vservice import VService
from thrift.Thrift import TApplicationException
from thrift.transport.TTransport import TTransportException

from tests.thrift.clients import client_of
from tests.thrift.interop.handler import Handler
from tests.thrift.interop.peers import exercise, peer

pytestmark = pytest.mark.needs("thrift-compiler")
ModuleMaker = Callable[[str], Any]
PeerFactory = Callable[..., int]

APACHE = [
    ("threaded", "binary"),
    ("threaded", "compact"),
    ("pool", "compact"),
    ("nonblocking", "binary"),
]
FRAMED = [
    *[("apache", *each) for each in APACHE],
    ("thriftpy2", "threaded", "binary"),
    ("thriftpy2", "threaded", "compact"),
]
HTTP = [
    *[("apache", "http", protocol) for protocol in ("binary", "compact", "json")],
    ("thriftpy2", "http", "binary"),
]
BIG = b"0123456789abcdef" * (15_000_000 // 16)


def label(value: object) -> str:
    return "-".join(value) if isinstance(value, tuple) else str(value)


UNDECLARED: dict[str, type[Exception]] = {
    "apache": TApplicationException,
    "thriftpy2": TTransportException,
}
"""What an undeclared exception is to the caller: thriftpy2's servers hang up."""


@pytest.mark.parametrize(
    ("server", "compiler"),
    [
        (server, compiler)
        for server in (*FRAMED, *HTTP)
        for compiler in ("thrift", "thriftpy2")
        if (server[2], compiler) != ("json", "thriftpy2")  # it does not read what Apache's writes
    ],
    ids=label,
)
def test_the_client_calls_every_method(
    server: tuple[str, ...], compiler: str, peers: PeerFactory, interop_by: ModuleMaker
) -> None:
    types = interop_by(compiler)
    path = "/service" if server[1] == "http" else None
    with ThriftClient.for_localhost(
        peers(*server), types, service="Interop", protocol=server[2], path=path
    ) as client:
        exercise(client.call, types, UNDECLARED[server[0]], infinite=server[2] != "json")


@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
@pytest.mark.parametrize("server", FRAMED, ids=label)
def test_the_asynchronous_client_calls_every_method(
    server: tuple[str, ...], compiler: str, peers: PeerFactory, interop_by: ModuleMaker
) -> None:
    types = interop_by(compiler)

    async def calls() -> None:
        loop = asyncio.get_running_loop()
        async with AsyncThriftClient.for_hostport(
            "127.0.0.1", peers(*server), types, service="Interop", protocol=server[2]
        ) as client:

            def call(name: str, *arguments: Any) -> Any:
                return asyncio.run_coroutine_threadsafe(
                    client.call(name, *arguments), loop
                ).result()

            await asyncio.to_thread(exercise, call, types, UNDECLARED[server[0]])

    asyncio.run(calls())


def service_of(types: Any, server: type[ThriftServerTask]) -> type[VService]:
    """Make a service of ours that serves the interface."""

    class InteropTask(ThriftHandlerTask):
        MODULE = types
        SERVICE_NAME = "Interop"

        def implementation(self, name: str) -> Callable[..., Any] | None:
            if not hasattr(self, "handler"):
                self.handler = Handler(types, types.included)
            found: Callable[..., Any] = getattr(self.handler, name)
            return found

    class SecondTask(ThriftHandlerTask):
        MODULE = types
        SERVICE_NAME = "Second"

        def which(self) -> str:
            return "second"

    class Server(server):  # type: ignore[misc, valid-type]
        MODULE = types.Interop
        MULTIPLEX = True

    class Service(VService):
        TASKS = [InteropTask, SecondTask, Server]

    return Service


@pytest.mark.parametrize("protocol", ["binary", "compact"])
@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
def test_our_clients_and_our_server(compiler: str, protocol: str, interop_by: ModuleMaker) -> None:
    types = interop_by(compiler)
    with running(service_of(types, NBServerTask), "--thrift-host", "127.0.0.1") as service:
        with client_of(service, types, service="Interop", protocol=protocol) as client:
            exercise(client.call, types, TApplicationException)
            assert client.echoBinary(BIG) == BIG
        with client_of(service, types, multiplex_service="Second", protocol=protocol) as second:
            assert second.which() == "second"
        port = service.requireTask("Server").bound_port

        async def calls() -> None:
            async with AsyncThriftClient.for_hostport(
                "127.0.0.1", port, types, multiplex_service="Interop", protocol=protocol
            ) as client:
                assert await client.join("a", "b") == "a|b"
                assert await client.echoBinary(BIG) == BIG

        asyncio.run(calls())


@pytest.mark.parametrize("protocol", ["binary", "compact", "json"])
def test_our_client_and_our_server_over_http(protocol: str, interop_by: ModuleMaker) -> None:
    types = interop_by("thrift")
    service_class = service_of(types, ThriftHTTPTask)
    with running(service_class, "--thrift-http-host", "127.0.0.1") as service:
        options: Any = {"service": "Interop", "protocol": protocol, "path": "/any"}
        with client_of(service, types, ThriftHTTPTask, **options) as client:
            exercise(client.call, types, TApplicationException, infinite=protocol != "json")
            if protocol != "json":  # which Apache's library reads character by character
                assert client.echoBinary(BIG[:5_000_000]) == BIG[:5_000_000]
        options["multiplex_service"] = "Second"
        with client_of(service, types, ThriftHTTPTask, **{**options, "service": None}) as second:
            assert second.which() == "second"


@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
@pytest.mark.parametrize("make", ["apache", "thriftpy2"])
def test_a_multiplexing_server_is_told_which_service(
    make: str, compiler: str, peers: PeerFactory, interop_by: ModuleMaker
) -> None:
    types, port = interop_by(compiler), peers(make, "threaded", "binary", "multiplexed")
    with ThriftClient.for_localhost(port, types, multiplex_service="Second") as second:
        assert second.which() == "second"
    with ThriftClient.for_localhost(port, types, multiplex_service="Interop") as client:
        assert client.join("a", second="b") == "a|b"


@pytest.mark.parametrize("server", [FRAMED[0], FRAMED[1], FRAMED[4], HTTP[0]], ids=label)
def test_payloads_of_15_megabytes(
    server: tuple[str, ...], peers: PeerFactory, interop_by: ModuleMaker
) -> None:
    types, port = interop_by("thrift"), peers(*server)
    path = "/" if server[1] == "http" else None
    with ThriftClient.for_localhost(
        port, types, service="Interop", protocol=server[2], path=path
    ) as client:
        assert client.echoBinary(BIG) == BIG
    if path:
        return

    async def big() -> None:
        async with AsyncThriftClient.for_localhost(
            port, types, service="Interop", protocol=server[2]
        ) as client:
            assert await client.echoBinary(BIG) == BIG

    asyncio.run(big())


def test_a_unix_socket(generated: Path, tmp_path: Path, interop_by: ModuleMaker) -> None:
    types, path = interop_by("thrift"), str(tmp_path / "s")
    with peer("apache_server", str(generated), "unix", "binary", path) as where:
        assert where == path
        with ThriftClient.for_unix(path, types, service="Interop") as client:
            assert client.join("a", "b") == "a|b"
            assert repr(client) == f"<ThriftClient of Interop at {path}>"

        async def calls() -> None:
            async with AsyncThriftClient.for_unix(path, types, service="Interop") as client:
                assert await client.join("a", "b") == "a|b"

        asyncio.run(calls())
