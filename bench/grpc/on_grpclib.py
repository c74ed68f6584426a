"""Echoes by bare grpclib, which is what GrpcTask is nearest to. uvloop's loop with --uvloop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from typing import Any

import uvloop
from google.protobuf.wrappers_pb2 import StringValue
from grpclib.const import Cardinality, Handler
from grpclib.server import Server


class Echo:
    """One method."""

    def __mapping__(self) -> dict[str, Handler]:
        """Return it, as grpclib's generated code does."""
        handler = Handler(self.echo, Cardinality.UNARY_UNARY, StringValue, StringValue)
        return {"/bench.Echo/Echo": handler}

    async def echo(self, stream: Any) -> None:
        """Echo."""
        request = await stream.recv_message()
        await stream.send_message(StringValue(value=request.value))


async def main() -> None:
    """Serve until SIGTERM."""
    server = Server([Echo()])
    # With protocol 0 it would send with delay: 40 ms a call.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as sock:
        sock.bind(("127.0.0.1", 0))
        await server.start(sock=sock)
        stamps = b"port %d\nready %d\n" % (sock.getsockname()[1], time.monotonic_ns())
        os.write(int(os.environ["BENCH_FD"]), stamps)
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()
        server.close()


if "--uvloop" in sys.argv:
    uvloop.run(main())
else:
    asyncio.run(main())
