"""AsyncThriftClient, where it differs from ThriftClient; the tests of that try both."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
from sparts.errors import UsageError
from sparts.thrift.client import AsyncThriftClient
from thrift.transport.TTransport import TTransportException

from tests.thrift.scripted import Peer, hold

pytestmark = [
    pytest.mark.needs("thrift-compiler"),
    pytest.mark.usefixtures("no_descriptor_left"),
]


def client_of(peer: Peer | int, types: Any, **options: Any) -> AsyncThriftClient:
    port = peer if isinstance(peer, int) else peer.port
    return AsyncThriftClient.for_hostport("127.0.0.1", port, types, service="Interop", **options)


def holding(types: Any) -> Peer:
    """Give a peer that reads its first call, and does not answer it."""

    def read_and_hold(connection: socket.socket) -> None:
        peer.read(connection)
        hold(connection)

    peer = Peer(types, read_and_hold)
    return peer


async def asked(peer: Peer) -> None:
    """Wait until the peer has read a call."""
    assert await asyncio.to_thread(peer.asked.wait, 30)


def test_coroutines_share_the_connections(types: Any) -> None:
    async def calls() -> None:
        async with client_of(peer, types, pool_size=3) as client:
            answers = await asyncio.gather(*(client.join("a", str(i)) for i in range(50)))
            assert answers == [f"a|{i}" for i in range(50)]

    with Peer(types) as peer:
        asyncio.run(calls())
        assert len(peer.connections) <= 3


def test_dropped_connection_is_replaced_before_a_call(types: Any) -> None:
    gone = threading.Event()

    def once(connection: socket.socket) -> None:
        peer.serve_one(connection)
        connection.shutdown(socket.SHUT_RDWR)
        gone.set()

    async def calls() -> None:
        async with client_of(peer, types) as client:
            await client.nothing()
            await asyncio.to_thread(gone.wait, 30)
            await client.nothing()

    with Peer(types, once) as peer:
        asyncio.run(calls())
        assert len(peer.connections) == 2


def test_a_call_that_is_cancelled_closes_its_connection(types: Any) -> None:
    async def calls() -> None:
        async with client_of(peer, types) as client:
            call = asyncio.create_task(client.hang())
            await asked(peer)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await client.join("a", "b") == "a|b"

    with holding(types) as peer:
        asyncio.run(calls())
        assert len(peer.connections) == 2


def test_closing_ends_the_calls_of_others(types: Any) -> None:
    async def calls() -> None:
        client = client_of(peer, types, timeout=None, idempotent=True)
        call = asyncio.create_task(client.hang())
        await asked(peer)
        await client.close()
        with pytest.raises(TTransportException, match="This client is closed"):
            await call
        with pytest.raises(TTransportException, match="This client is closed"):
            await client.nothing()
        await client.close()

    with holding(types) as peer:
        asyncio.run(calls())


def test_connections_of_another_loop_are_not_used(types: Any) -> None:
    with Peer(types) as peer:
        client = client_of(peer, types)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(client.nothing())
            with pytest.raises(RuntimeError, match="connections in another event loop"):
                asyncio.run(client.nothing())
        finally:
            loop.run_until_complete(client.close())
            loop.close()


def test_a_closed_client_leaves_another_loop_alone(types: Any) -> None:
    async def call() -> None:
        async with client_of(peer, types) as client:
            await client.nothing()

    with Peer(types) as peer:
        asyncio.run(call())
        asyncio.run(call())


def test_http_is_refused(types: Any) -> None:
    with pytest.raises(UsageError, match="speaks framed thrift only. ThriftClient speaks HTTP"):
        client_of(1, types, path="/")


def test_a_connection_sends_without_delay(types: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[int, int]] = []
    open_connection = asyncio.open_connection

    async def note(*args: Any, **options: Any) -> Any:
        reader, writer = await open_connection(*args, **options)
        sock = writer.get_extra_info("socket")
        opened.append((sock.proto, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))
        return reader, writer

    async def call() -> None:
        async with client_of(peer, types) as client:
            await client.served()

    monkeypatch.setattr(asyncio, "open_connection", note)
    with Peer(types) as peer:
        asyncio.run(call())
    assert opened == [(socket.IPPROTO_TCP, 1)]
