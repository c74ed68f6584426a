"""Does urgent jobs first."""

from typing import Any

from sparts.tasks.queue import ExecuteContext, PriorityQueueTask
from sparts.vservice import VService

URGENT, NORMAL = 0, 1


class Jobs(PriorityQueueTask):
    """Items are (urgency, job): the smallest comes first, of equal ones the oldest."""

    def execute(self, item: tuple[int, dict[str, Any]], context: ExecuteContext) -> None:
        """Do one job; dictionaries cannot be compared, and need not be."""
        self.logger.info("did %s", item[1]["name"])


class JobService(VService):
    """Does jobs."""

    TASKS = [Jobs]

    def initService(self) -> None:  # noqa: N802
        """Leave some work before the workers start."""
        jobs = self.requireTask(Jobs).queue
        jobs.put((NORMAL, {"name": "tidy up"}))
        jobs.put((NORMAL, {"name": "write report"}))
        jobs.put((URGENT, {"name": "put out fire"}))


if __name__ == "__main__":
    JobService.initFromCLI()
