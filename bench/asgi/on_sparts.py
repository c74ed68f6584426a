"""Hello, world by AsgiTask as it is: counters, timing, request ids, time limits.

Asyncio's loop; uvloop's with --uvloop.
"""

import os
import sys
import time

from hello import app  # type: ignore[import-not-found]
from sparts.tasks.asgi import AsgiTask
from sparts.vservice import VService


def stamp(word: bytes, number: int) -> None:
    """Tell the benchmark a number."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


class Hello(AsgiTask):
    """Says where it listens."""

    DEFAULT_HOST = "127.0.0.1"
    APP = app

    def start(self) -> None:
        """Start, and stamp."""
        super().start()
        stamp(b"port", self.bound_addrs[0][1])
        stamp(b"ready", time.monotonic_ns())


class MyService(VService):
    """Nothing but HTTP."""

    TASKS = [Hello]


if "--uvloop" in sys.argv:
    sys.argv[sys.argv.index("--uvloop")] = "--asyncio-uvloop"
MyService.initFromCLI()
