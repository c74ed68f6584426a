"""Hello, world on raw Tornado: asyncio's loop in the main thread; uvloop's with --uvloop."""

import asyncio
import os
import signal
import sys
import time

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler


class Hello(RequestHandler):
    """Answers as the task's own handler does."""

    def get(self) -> None:
        """Answer a GET."""
        self.write("Hello, world")


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


async def main() -> None:
    """Serve until SIGTERM."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    sockets = bind_sockets(0, "127.0.0.1", backlog=1024)
    HTTPServer(Application([("/", Hello)])).add_sockets(sockets)
    stamp(b"port", sockets[0].getsockname()[1])
    stamp(b"ready", time.monotonic_ns())
    await end.wait()


if "--uvloop" in sys.argv:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
