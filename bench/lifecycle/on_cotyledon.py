"""A service that does nothing, on cotyledon: ready when its worker says so."""

import logging
import os
import time

from cotyledon import Service, ServiceManager


def stamp(word: bytes) -> None:
    """Tell the benchmark when something happened."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, time.monotonic_ns()))


class MyService(Service):
    """Does nothing."""


logging.basicConfig(level="DEBUG")
manager = ServiceManager()
manager.register_hooks(on_new_worker=lambda *_: stamp(b"ready"))
manager.add(MyService)
master = os.getpid()
try:
    manager.run()
finally:
    if os.getpid() == master:
        stamp(b"ended")
