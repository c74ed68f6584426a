"""The gRPC side of the soaked service, and its clients."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from sparts.tasks.grpc import GrpcTask

from soak import ledger
from soak.clients import Client, expect
from soak.jobs import JOBS

NAME = "soak.Soak"
RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)
OPTIONS = [("grpc.service_config", RETRIES), ("grpc.use_local_subchannel_pool", 1)]


class Grpc(GrpcTask):
    """Serves calls of bytes, without generated code."""

    DEFAULT_HOST = "127.0.0.1"
    DEPS = JOBS

    def add_to_server(self, server: Any) -> None:
        """Add a method in a thread, one in the loop, and a stream."""
        handlers = {
            "Twice": grpc.unary_unary_rpc_method_handler(self._twice),
            "Echo": grpc.unary_unary_rpc_method_handler(_echo),
            "Parts": grpc.stream_stream_rpc_method_handler(_parts),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(NAME, handlers),))

    def _twice(self, number: bytes, _: Any) -> bytes:
        """Double a number by way of a queue."""
        ledger.handed("Items")
        return b"%d" % self.service.requireTask("Items").submit(int(number)).result()


async def _echo(data: bytes, _: Any) -> bytes:
    return data


def _parts(parts: Iterator[bytes], _: Any) -> Iterator[bytes]:
    yield from parts


def grpc_clients(port: int) -> list[Client]:
    """Make the clients: calls of each kind, new connections, and one that misbehaves."""
    target = f"127.0.0.1:{port}"
    channel = grpc.insecure_channel(target, OPTIONS)

    def twice(number: int) -> None:
        call = channel.unary_unary(f"/{NAME}/Twice")
        expect(call(b"%d" % number, timeout=60), b"%d" % (2 * number))

    def echo(number: int) -> None:
        data = bytes([number % 256]) * (number * 997 % 50_000)
        expect(channel.unary_unary(f"/{NAME}/Echo")(data, timeout=60) == data, True)

    def parts(number: int) -> None:
        data = [b"%d" % each for each in range(number % 10)]
        expect(list(channel.stream_stream(f"/{NAME}/Parts")(iter(data), timeout=60)), data)

    calls: dict[str, Callable[[int], None]] = {
        "gRPC twice": twice,
        "gRPC echo": echo,
        "gRPC parts": parts,
        "gRPC new connection": lambda _: call_by_new_connection(target),
        "gRPC killed in the middle": lambda _: kill_in_the_middle(port),
    }
    clients = [Client(name, once) for name, once in calls.items()]
    for client in clients:
        client.PAUSE = 0.02
    clients[0].close = channel.close
    return clients


def call_by_new_connection(target: str) -> None:
    """Make one call by a connection of its own."""
    with grpc.insecure_channel(target, OPTIONS) as fresh:
        expect(fresh.unary_unary(f"/{NAME}/Echo")(b"new", timeout=60), b"new")


def kill_in_the_middle(port: int) -> None:
    """Send the preface of HTTP/2 and half a frame, and reset the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\x0c\x04half")
