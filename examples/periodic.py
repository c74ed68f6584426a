"""Does something every second, without drift; stop it with ^C.

Try ``--Heartbeat-interval 250ms``, or ``--Heartbeat-cron "* * * * *"`` with sparts-core[cron].
"""

from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.vservice import VService


class Heartbeat(PeriodicTask):
    """Logs a line at each interval."""

    INTERVAL = 1.0

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Called at start, start + 1 s, start + 2 s, ..."""
        self.logger.info("beat %d", self.n_iterations() + 1)


class PeriodicService(VService):
    """Has a heartbeat."""

    TASKS = [Heartbeat]


if __name__ == "__main__":
    PeriodicService.initFromCLI()
