"""The tasks of the soaked service that the core alone brings: one of every type."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from sparts.context import ExecuteContext
from sparts.counters import SampleType, counter, samples
from sparts.option_types import duration
from sparts.options import option
from sparts.tasks.async_periodic import AsyncPeriodicTask
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.asyncio import AsyncioTask
from sparts.tasks.event import EventTask
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.tasks.queue import PriorityQueueTask, QueueTask, TryLater, UniqueQueueTask
from sparts.tasks.select import SelectTask
from sparts.vtask import RestartPolicy, VTask

from soak import ledger

OFTEN = RestartPolicy("on-failure", first_wait=0.01, max_wait=0.1, limit=1000, window=10.0)


class Beat(PeriodicTask):
    """Runs every 100 ms, or as an option that clients change says."""

    OPT_PREFIX = "beat"
    INTERVAL = 0.1
    pause = option(type=duration, default=0.0, help="how long each run takes")
    beats = counter(help="Runs.")

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Wait as long as the option says."""
        self.stop_event.wait(self.pause)
        self.beats.increment()


class Level(PollerTask):
    """Fetches a value that changes all the time."""

    INTERVAL = 0.2

    def fetch(self) -> int:
        """Give the number of threads."""
        return threading.active_count()


class Signal(EventTask):
    """Runs when a client says so."""

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Do nothing."""


class Items(QueueTask):
    """Doubles numbers; every seventh is tried again, and every 131st fails its worker."""

    WORKERS = 3
    RESTART = OFTEN
    RETRY_AFTER = 0.001
    sizes = samples(types=[SampleType.AVG, SampleType.P99], windows=[60], help="The numbers.")

    def execute(self, item: int, context: ExecuteContext) -> int:
        """Double a number."""
        if context.attempt == 1 and item % 7 == 0:
            raise TryLater
        if context.attempt == 1 and item % 131 == 0 and context.future is None:
            raise ValueError("an item that fails once, and nobody waits for it")
        self.sizes.add(item)
        ledger.done("Items")
        return 2 * item

    def on_dropped(self, items: Any) -> None:
        """Note what is lost."""
        ledger.left("Items", items)


class Ranked(PriorityQueueTask):
    """Takes the smallest number first."""

    def execute(self, item: int, context: ExecuteContext) -> int:
        """Double a number."""
        ledger.done("Ranked")
        return 2 * item

    def on_dropped(self, items: Any) -> None:
        """Note what is lost."""
        ledger.left("Ranked", items)


class Once(UniqueQueueTask):
    """Works once for equal items that are there at the same time."""

    def execute(self, item: int, context: ExecuteContext) -> int:
        """Double a number."""
        return 2 * item


class Coroutines(AsyncQueueTask):
    """Works on many items at a time on the loop."""

    WORKERS = 10

    async def execute(self, item: int, context: ExecuteContext) -> int:
        """Double a number, and let others run meanwhile."""
        await asyncio.sleep(0.001)
        ledger.done("Coroutines")
        return 2 * item

    def on_dropped(self, items: Any) -> None:
        """Note what is lost."""
        ledger.left("Coroutines", items)


class AsyncBeat(AsyncPeriodicTask):
    """Runs every 100 ms on the loop."""

    INTERVAL = 0.1

    async def execute(self, context: ExecuteContext | None = None) -> None:
        """Let others run."""
        await asyncio.sleep(0)


class Stream(AsyncioTask):
    """A coroutine that runs until it must stop, and is restarted when it fails."""

    RESTART = OFTEN

    async def run(self) -> None:
        """Wait for a client that asks for a failure."""
        self.fail = asyncio.Event()
        await self.fail.wait()
        raise ValueError("asked to fail")


class Fragile(VTask):
    """A worker that fails whenever a client asks for it, and is restarted."""

    RESTART = OFTEN

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.fail = threading.Semaphore(0)

    def _runloop(self) -> None:
        self.fail.acquire()
        if self.running:
            raise ValueError("asked to fail")

    def stop(self) -> None:
        """Wake the worker."""
        super().stop()
        self.fail.release()


class Folder(DirectoryWatcherTask):
    """Watches the folder in which a client makes and removes files."""

    OPT_PREFIX = "folder"
    PATH = "."
    seen = counter(help="Files that came.")

    def onFileCreated(self, name: str, stat: Any) -> None:  # noqa: N802
        """Count a file."""
        self.seen.increment()


class Programs(SelectTask):
    """Runs programs."""


JOBS = [
    *(Beat, Level, Signal, Items, Ranked, Once, Coroutines, AsyncBeat, Stream, Fragile, Folder),
    Programs,
]
