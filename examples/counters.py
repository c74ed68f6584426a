"""Counts what it does, and logs the counters every second."""

import random

from sparts.counters import CallbackCounter, SampleType, counter, gauge, labelled, samples
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.vservice import VService


class Mailer(PeriodicTask):
    """Pretends to send mails."""

    INTERVAL = 0.01

    sent = counter(help="Mails sent.")
    by_outcome = labelled(counter(help="Mails by outcome."), "outcome")
    size = samples(types=[SampleType.AVG, SampleType.P99], windows=[60], unit="bytes")
    backlog = gauge(help="Mails that wait.")

    @CallbackCounter
    def per_failure(self) -> float:
        """Mails for each that failed."""
        return self.sent() / max(1, self.by_outcome.labels("failed")())

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Send one mail."""
        outcome = "failed" if random.random() < 0.1 else "delivered"  # noqa: S311
        self.sent.increment()
        self.by_outcome.labels(outcome).increment()
        self.size.add(random.lognormvariate(8, 1))
        self.backlog.set(random.randrange(10))  # noqa: S311


class Reporter(PeriodicTask):
    """Logs what `Mailer` has counted."""

    INTERVAL = 1.0
    RUN_AT_START = False

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Read the counters, as every transport does."""
        for name, value in self.service.getCounters().items():
            if name.startswith("Mailer."):
                self.logger.info("%s = %.6g", name, value)


class CounterService(VService):
    """Counts."""

    TASKS = [Mailer, Reporter]


if __name__ == "__main__":
    CounterService.initFromCLI()
