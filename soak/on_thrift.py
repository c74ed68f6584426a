"""The thrift side of the soaked service, and its clients."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from sparts.tasks.thrift import NBServerTask, ThriftHandlerTask
from sparts.tasks.tornado_thrift import ThriftHTTPTask
from sparts.thrift.client import ThriftClient
from sparts.thrift.compiler import CompileContext
from sparts.thrift.fb303 import FacebookService

from soak import ledger
from soak.clients import Client, expect
from soak.jobs import JOBS

IDL = """
exception Refused { 1: string why }

service Soak {
  i64 twice(1: i64 number) throws (1: Refused refused),
  string slowly(1: string text),
  binary echo(1: binary data),
}
"""
soak_thrift = CompileContext().importThriftStr(IDL)


class SoakHandler(ThriftHandlerTask):
    """Answers."""

    MODULE = soak_thrift
    DEPS = JOBS

    def twice(self, number: int) -> int:
        """Double a number by way of a queue; refuse every hundredth."""
        if number % 100 == 0:
            raise soak_thrift.Refused(why="a hundredth")
        ledger.handed("Items")
        return int(self.service.requireTask("Items").submit(number).result())

    async def slowly(self, text: str) -> str:
        """Take a little time on the loop."""
        await asyncio.sleep(0.005)
        return text

    def echo(self, data: bytes) -> bytes:
        """Give back what came."""
        return data


class Thrift(NBServerTask):
    """Serves the handler."""

    OPT_PREFIX = "thrift"
    MODULE = soak_thrift
    DEFAULT_HOST = "127.0.0.1"
    MULTIPLEX = True


class ThriftOverHTTP(ThriftHTTPTask):
    """Serves the handler over HTTP."""

    MODULE = soak_thrift
    DEFAULT_HOST = "127.0.0.1"


def thrift_http_clients(port: int) -> list[Client]:
    """Make the clients over HTTP."""
    client = ThriftClient.for_localhost(
        port, module=soak_thrift, path="/", timeout=30.0, idempotent=True
    )
    slowly = Client("thrift over HTTP", lambda n: expect(client.slowly(str(n)), str(n)))
    slowly.close = client.close
    return [slowly]


def thrift_clients(port: int) -> list[Client]:
    """Make the clients: calls of each kind, and one that misbehaves."""
    idempotent = ["twice", "slowly", "echo"]
    client = ThriftClient.for_localhost(
        port, module=soak_thrift, timeout=30.0, idempotent=idempotent, pool_size=4
    )

    def twice(number: int) -> None:
        try:
            expect(client.twice(number), 2 * number)
        except soak_thrift.Refused as refused:
            expect((refused.why, number % 100), ("a hundredth", 0))

    def echo(number: int) -> None:
        data = bytes([number % 256]) * (number * 997 % 50_000)
        expect(client.echo(data) == data, True)

    facts = fb303_client(port)

    def counters(number: int) -> None:
        expect("Beat.beats" in facts.getCounters(), True)

    calls: dict[str, Any] = {
        "thrift twice": twice,
        "thrift slowly": lambda number: expect(client.slowly(str(number)), str(number)),
        "thrift echo": echo,
        "fb303 getCounters": counters,
        "thrift killed in the middle": lambda number: kill_in_the_middle(port),
    }
    clients = [Client(name, once) for name, once in calls.items()]
    clients[-1].PAUSE = 0.05
    clients[0].close, clients[-2].close, clients[-2].PAUSE = client.close, facts.close, 0.1
    return clients


def fb303_client(port: int) -> ThriftClient:
    """Make a client of the service's fb303."""
    name = "FacebookService"
    return ThriftClient.for_localhost(
        port, module=FacebookService, multiplex_service=name, idempotent=True
    )


def kill_in_the_middle(port: int) -> None:
    """Send half a frame, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(struct.pack("!i", 1000) + b"half")
