"""The task that the plugin adds to every service."""

from __future__ import annotations

from sparts.tasks.periodic import PeriodicTask
from sparts.vtask import ExecuteContext


class Heartbeat(PeriodicTask):
    """Logs at an interval that the service is alive."""

    OPT_PREFIX = "heartbeat"
    INTERVAL = 30.0

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Log one beat."""
        self.logger.info("%s is %s", self.service.name, self.service.health.status)
