"""The first example, with a stamp at its line that says ready and one at its end."""

import logging
import os
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
    """Does nothing."""


logging.getLogger("MyService").addFilter(stamp_start)
try:
    MyService.initFromCLI()
finally:
    stamp(b"ended")
