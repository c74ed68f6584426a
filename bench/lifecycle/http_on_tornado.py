"""The same greeting by a bare Tornado script: a handler, a socket, and a signal."""

import asyncio
import os
import signal
import time

from tornado.web import Application, RequestHandler


def stamp(word: bytes) -> None:
    """Tell the benchmark when something happened."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, time.monotonic_ns()))


class Greeting(RequestHandler):
    """Answers ``Hello, world``."""

    def get(self) -> None:
        """Answer a GET."""
        self.write("Hello, world")


async def main() -> None:
    """Serve until SIGTERM comes."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    server = Application([("/", Greeting)]).listen(0, "127.0.0.1")
    stamp(b"ready")
    await end.wait()
    server.stop()
    await server.close_all_connections()


asyncio.run(main())
stamp(b"ended")
