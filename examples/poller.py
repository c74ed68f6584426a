"""Watches how many processes are ready to run, and tells when that changes."""

from pathlib import Path

from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.tasks.poller import PollerTask
from sparts.vservice import VService


class Load(PollerTask):
    """Fetches the load average of the last minute every five seconds."""

    INTERVAL = "5s"

    def fetch(self) -> float:
        """Return the value as it is now."""
        return float(Path("/proc/loadavg").read_text(encoding="ascii").split()[0])

    def onValueChanged(self, old: float | None, new: float) -> None:  # noqa: N802
        """Report a new value; ``old`` is None the first time."""
        self.logger.info("load is %s, was %s", new, old)


class Reporter(PeriodicTask):
    """Uses the value; the first `getValue` waits until there is one."""

    DEPS = [Load]
    INTERVAL = "1m"

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Say whether there is much to do."""
        load: float = self.service.requireTask(Load).getValue()
        self.logger.info("busy" if load > 1 else "idle")


class PollerService(VService):
    """Watches the load."""

    TASKS = [Reporter]


if __name__ == "__main__":
    PollerService.initFromCLI()
