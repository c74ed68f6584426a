"""A service that does nothing, on aiomisc: ready when its entry point has started it."""

import os
import time
from asyncio import AbstractEventLoop
from typing import Any

from aiomisc import Service, entrypoint


def stamp(word: bytes) -> None:
    """Tell the benchmark when something happened."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, time.monotonic_ns()))


class MyService(Service):
    """Does nothing."""

    async def start(self) -> Any:
        """Start."""


def main(loop: AbstractEventLoop) -> None:
    """Run until SIGTERM."""
    stamp(b"ready")
    loop.run_forever()


with entrypoint(MyService(), log_level="debug") as running:
    main(running)
stamp(b"ended")
