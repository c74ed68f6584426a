"""A server of a protocol of lines, and a periodic report of what it did."""

import asyncio
from typing import Any

from sparts.counters import counter
from sparts.tasks.asyncio_server import AsyncioServerTask
from sparts.tasks.periodic import PeriodicTask
from sparts.vservice import VService


class Lines(asyncio.Protocol):
    """Answers each line in capital letters."""

    def __init__(self, task: "Shouting") -> None:
        self.task, self.rest = task, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(line.upper() + b"\n")
            self.task.lines.increment()

    def drain(self) -> None:
        self.transport.close()


class Shouting(AsyncioServerTask):
    """Serves the protocol."""

    OPT_PREFIX = "shouting"
    DEFAULT_HOST = "127.0.0.1"
    lines = counter(help="Lines that were answered.")

    def make_protocol(self) -> Lines:
        return Lines(self)


class Report(PeriodicTask):
    """Logs how many lines there were."""

    OPT_PREFIX = "report"
    INTERVAL = "1m"
    DEPS = [Shouting]

    def execute(self, context: Any = None) -> None:
        self.logger.info("%d lines", self.service.requireTask(Shouting).lines())


class LineService(VService):
    """Shouts."""

    TASKS = [Report]


if __name__ == "__main__":
    LineService.initFromCLI()
