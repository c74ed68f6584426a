"""Works when it is asked to: ``kill -HUP`` it, as often as you like while it is at it."""

from sparts.tasks.event import EventTask, ExecuteContext
from sparts.vservice import VService


class Rebuild(EventTask):
    """Rebuilds an index; requests that arrive meanwhile are answered by one more run."""

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Do the work; called in the task's own thread."""
        self.logger.info("rebuilt %d times", self.n_iterations() + 1)

    def reload(self) -> None:
        """Called at SIGHUP."""
        self.trigger()


class EventService(VService):
    """Rebuilds on demand."""

    TASKS = [Rebuild]


if __name__ == "__main__":
    EventService.initFromCLI()
