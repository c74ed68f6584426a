"""Echoes by bare grpc.aio, whose HTTP/2 is written in C++."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any

import grpc
import grpc.aio
from google.protobuf.wrappers_pb2 import StringValue


async def echo(request: Any, context: Any) -> Any:
    """Echo."""
    return StringValue(value=request.value)


async def main() -> None:
    """Serve until SIGTERM."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        echo, StringValue.FromString, StringValue.SerializeToString
    )
    server.add_registered_method_handlers("bench.Echo", {"Echo": handler})
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stamps = b"port %d\nready %d\n" % (port, time.monotonic_ns())
    os.write(int(os.environ["BENCH_FD"]), stamps)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(0)


asyncio.run(main())
