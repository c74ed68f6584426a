"""Writes a report every night; needs sparts-core[cron]. Try ``--Report-cron "* * * * * *"``."""

from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.vservice import VService


class Report(PeriodicTask):
    """Runs at half past two in Berlin, once a day, also when the clocks change."""

    CRON = "30 2 * * *"
    TIMEZONE = "Europe/Berlin"

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Write the report."""
        self.logger.info("report written")


class CronService(VService):
    """Reports."""

    TASKS = [Report]


if __name__ == "__main__":
    CronService.initFromCLI()
