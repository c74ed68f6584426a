"""Runs as several processes behind one port, with a task that one of them alone runs.

    python processes.py --processes 2
    curl http://localhost:8080/         # which process answers
    kill -HUP PID                       # replace both, one after the other; no request fails
"""

import os

from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.tornado import TornadoHTTPTask
from sparts.vservice import VService

from tornado.web import RequestHandler


class Who(RequestHandler):
    """Says which process it is in."""

    def get(self) -> None:
        self.write(f"{os.getpid()}\n")


class Web(TornadoHTTPTask):
    """Runs in each process: they share its port."""

    OPT_PREFIX = "http"
    DEFAULT_PORT = 8080

    def getApplicationConfig(self) -> list[object]:  # noqa: N802
        return [("/", Who)]


class Report(PeriodicTask):
    """Runs in one process, and moves to another one when that ends."""

    PROCESSES = "first"
    INTERVAL = 10.0

    def execute(self, context: ExecuteContext | None = None) -> None:
        self.logger.info("reported by %d", os.getpid())


class Processes(VService):
    """Answers on one port, from several processes."""

    TASKS = [Web, Report]


if __name__ == "__main__":
    Processes.initFromCLI()
