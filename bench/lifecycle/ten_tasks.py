"""A service with ten tasks of different types, all at rest; it stamps as on_sparts.py does."""

import logging
import os
import time
from typing import Any

from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.event import EventTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import PriorityQueueTask, QueueTask, UniqueQueueTask
from sparts.tasks.select import SelectTask
from sparts.vservice import VService
from sparts.vtask import VTask


def stamp(word: bytes) -> None:
    """Tell the benchmark when something happened."""
    os.write(int(os.environ["BENCH_FD"]), b"%s %d\n" % (word, time.monotonic_ns()))


def stamp_start(record: logging.LogRecord) -> bool:
    """Stamp the record that says so."""
    if record.msg == "All tasks started":
        stamp(b"ready")
    return True


class Thread(VTask):
    """Waits for the stop."""

    def _runloop(self) -> None:
        self.stop_event.wait()


class Threads(Thread):
    """Waits for the stop, four times."""

    workers = 4


class Hourly(PeriodicTask):
    """Runs an hour from now."""

    INTERVAL = 3600.0
    RUN_AT_START = False

    def execute(self, context: Any = None) -> None:
        """Do nothing."""


class Event(EventTask):
    """Waits for a trigger."""

    def execute(self, context: Any = None) -> None:
        """Do nothing."""


class Queue(QueueTask):
    """Waits for items."""

    def execute(self, item: Any, context: Any = None) -> None:
        """Do nothing."""


class Priority(PriorityQueueTask):
    """Waits for items."""

    def execute(self, item: Any, context: Any = None) -> None:
        """Do nothing."""


class Unique(UniqueQueueTask):
    """Waits for items."""

    def execute(self, item: Any, context: Any = None) -> None:
        """Do nothing."""


class TenTasks(VService):
    """Ten tasks and a loop that one of them needs."""

    DEFAULT_HOST = "127.0.0.1"
    TASKS = [Thread, Threads, Hourly, Event, Queue, Priority, Unique, SelectTask, AsyncioLoopTask,
             "TornadoHTTPTask"]  # fmt: skip


logging.getLogger("TenTasks").addFilter(stamp_start)
try:
    TenTasks.initFromCLI()
finally:
    stamp(b"ended")
