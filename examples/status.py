"""A service with a status page: http://localhost:8081/ for a person, /metrics for Prometheus.

    python status.py --status-control --status-token "$(openssl rand -hex 16)"
"""

import random

from sparts.counters import SampleType, counter, gauge, labelled, samples
from sparts.options import option
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.vservice import VService
from sparts.vtask import VTask


class Database(VTask):
    """Pretends to be a connection, and says whether it is well."""

    LOOPLESS = True
    OPT_PREFIX = "db"
    up = option(type=bool, default=True, help="whether the database answers")
    password = option(type=str, secret=True, help="what opens the database")

    def initTask(self) -> None:  # noqa: N802
        self.service.add_check("database", self.ping)

    def ping(self) -> None:
        if not self.up:
            raise ConnectionError("the database does not answer")


class Mailer(PeriodicTask):
    """Pretends to send mails."""

    INTERVAL = 0.5
    DEPS = [Database]
    OPT_PREFIX = "mailer"
    most = option(type=int, default=20, help="how many mails to send at once")

    sent = counter(help="Mails sent.")
    by_outcome = labelled(counter(help="Mails by outcome."), "outcome")
    size = samples(types=[SampleType.AVG, SampleType.P99], windows=[60], help="Size.", unit="bytes")
    waiting = gauge(help="Mails that wait.")

    def execute(self, context: ExecuteContext | None = None) -> None:
        for _ in range(random.randrange(self.most)):  # noqa: S311
            self.sent.increment()
            outcome = "failed" if random.random() < 0.1 else "delivered"  # noqa: S311
            self.by_outcome.labels(outcome).increment()
            self.size.add(random.lognormvariate(8, 1))
        self.waiting.set(random.randrange(10))  # noqa: S311


class Report(PeriodicTask):
    """Logs what has been sent, once an hour or when somebody asks for it."""

    INTERVAL = "1h"
    RUN_AT_START = False
    DEPS = [Mailer]
    OPT_PREFIX = "report"

    def execute(self, context: ExecuteContext | None = None) -> None:
        mailer = self.service.requireTask(Mailer)
        self.logger.info("%d mails have been sent", mailer.sent())


class MailService(VService):
    """Sends mails, and shows that it does."""

    VERSION = "1.0"
    TASKS = ["StatusHTTPTask", Report]


if __name__ == "__main__":
    MailService.initFromCLI()
