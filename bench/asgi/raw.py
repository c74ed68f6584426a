"""The same on bare uvicorn with httptools, without its access log; uvloop with --uvloop."""

import os
import socket
import sys
import time

import uvicorn
from hello import app  # type: ignore[import-not-found]


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


class Server(uvicorn.Server):
    """Says when it has started."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and stamp."""
        await super().startup(sockets)
        stamp(b"ready", time.monotonic_ns())


# With its protocol: without it, asyncio delays what is sent (TCP_NODELAY).
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
stamp(b"port", listener.getsockname()[1])
Server(
    uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop" if "--uvloop" in sys.argv else "asyncio",
        access_log=False,
        log_level="warning",
    )
).run([listener])
