"""The HTTP service by name of the examples, with a stamp when it is ready and one at its end."""

import logging
import os
import sys
import time

from sparts.vservice import VService


def stamp(word: bytes) -> None:
    """Tell the benchmark when something happened."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, time.monotonic_ns()))


def stamp_start(record: logging.LogRecord) -> bool:
    """Stamp the record that says so."""
    if record.msg == "All tasks started":
        stamp(b"ready")
    return True


class MyService(VService):
    """Greets by HTTP."""

    TASKS = ("TornadoHTTPTask",)


logging.getLogger("MyService").addFilter(stamp_start)
sys.argv[1:] = ["--http-host", "127.0.0.1", "--http-port", "0"]
try:
    MyService.initFromCLI()
finally:
    stamp(b"ended")
