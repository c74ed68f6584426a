"""A service of 50 tasks, each with a counter, behind its status page."""

import os
import time

from sparts.counters import counter
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.vservice import VService


def stamp(word: bytes, number: int) -> None:
    """Report a number to the benchmark."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, number))


class Work(PeriodicTask):
    """Does nearly nothing ten times a minute."""

    INTERVAL = 6.0
    runs = counter(help="How often it ran.")

    def execute(self, context: object = None) -> None:
        """Count."""
        self.runs.add(1)


class Page(StatusHTTPTask):
    """Reports where it listens."""

    def start(self) -> None:
        """Start, and stamp."""
        super().start()
        stamp(b"port", self.bound_addrs[0][1])
        stamp(b"ready", time.monotonic_ns())


class Watched(VService):
    """What an operator looks at."""

    TASKS = [*(type(f"Work{number}", (Work,), {}) for number in range(50)), Page]


Watched.initFromCLI()
