"""A service with much to see on its status page, and the tasks that it is made of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparts.context import ExecuteContext
from sparts.counters import SampleType, counter, samples
from sparts.options import option
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.testing.running import running, service_of
from sparts.vtask import VTask


class Database(VTask):
    """Answers to a check while it is up."""

    LOOPLESS = True
    OPT_PREFIX = "db"
    password = option(type=str, secret=True)
    fixed = option(type=int, default=1, reloadable=False)
    queries = counter(help="Queries.")
    up = True
    VITAL = False

    def initTask(self) -> None:  # noqa: N802
        """Add the check."""
        self.service.add_check("database", self.ping, vital=self.VITAL)

    def ping(self) -> None:
        """Fail while it is down."""
        if not self.up:
            raise ConnectionError("refused")


class Mailer(QueueTask[str, None]):
    """Sends one mail for each item."""

    DEPS = [Database]
    OPT_PREFIX = "mailer"
    WORKERS = 2
    ON_ERROR = "log"
    most = option(type=int, default=20, help="how many mails to send at once")
    sent = counter(help="Mails sent.")
    size = samples(types=[SampleType.P99], windows=[60], help="The size of a mail.", unit="bytes")

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.may_end = threading.Event()
        self.slow = threading.Semaphore(0)
        self.done: list[str] = []

    def execute(self, item: str, context: ExecuteContext) -> None:
        """Fail for a bad item, and wait with a slow one."""
        if item.startswith("slow"):
            self.slow.release()
            self.may_end.wait()
        if item.startswith("bad"):
            raise ValueError(f"no address in {item}")
        self.sent.add(1)
        self.done.append(item)

    def stop(self) -> None:
        """Let the slow ones end."""
        self.may_end.set()
        super().stop()


class Report(PeriodicTask):
    """Writes the report of the hour."""

    INTERVAL = "1h"
    RUN_AT_START = False

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self.ran = threading.Event()

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Note that it ran."""
        self.ran.set()


class Fragile(VTask):
    """Fails once, and is restarted."""

    RESTART = "on-failure"
    failed_before = False

    def _runloop(self) -> None:
        if not self.failed_before:
            self.failed_before = True
            raise OSError("the first time")
        self.stop_event.wait()


@contextmanager
def busy(*argv: str, more: tuple[type[VTask], ...] = ()) -> Iterator[Any]:
    """Run a service with a task of each kind, some of them with work and trouble."""
    cls = service_of(
        "StatusHTTPTask", TornadoHTTPTask, Mailer, Report, Fragile, *more, VERSION="4.5"
    )
    with running(cls, "--status-port", "0", "--http-port", "0", *argv) as service:
        mailer = service.requireTask(Mailer)
        for item in ("one", "two", "bad three", "slow four", "slow five", "six", "seven"):
            mailer.queue.put(item)
        for _ in range(mailer.WORKERS):  # so the bad one has failed
            assert mailer.slow.acquire(timeout=30)
        try:
            yield service
        finally:
            if (now := service.getTask(Mailer)) is not None:
                now.may_end.set()
