"""Echoes by GrpcTask as it is: counters, times, access log, limits. uvloop's loop with --uvloop."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from sparts.tasks.grpc import GrpcTask
from sparts.vservice import VService


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


async def echo(request: Any, context: Any) -> Any:
    """Echo."""
    return StringValue(value=request.value)


class Echo(GrpcTask):
    """Says where it listens."""

    DEFAULT_HOST = "127.0.0.1"
    DEFAULT_PORT = 0

    def add_to_server(self, server: Any) -> None:
        """Add one method."""
        handler = grpc.unary_unary_rpc_method_handler(
            echo, StringValue.FromString, StringValue.SerializeToString
        )
        server.add_service("bench.Echo", {"Echo": handler})

    def start(self) -> None:
        """Start, and stamp."""
        super().start()
        stamp(b"port", self.bound_addrs[0][1])
        stamp(b"ready", time.monotonic_ns())


class MyService(VService):
    """Nothing but gRPC."""

    TASKS = [Echo]


if "--uvloop" in sys.argv:
    sys.argv[sys.argv.index("--uvloop")] = "--asyncio-uvloop"
MyService.initFromCLI()
