"""Fetches pages in the background: a queue that tries again, and loses nothing at a stop."""

from collections.abc import Sequence

from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import ExecuteContext, QueueTask, TryLater
from sparts.vservice import VService


class Fetcher(QueueTask):
    """Fetches pages, two at a time."""

    WORKERS = 2
    MAX_ITEMS = 1000
    MAX_ATTEMPTS = 3
    RETRY_AFTER = 0.05
    ON_ERROR = "log"

    def execute(self, item: str, context: ExecuteContext) -> int:
        """Work on one item; called in one of the task's threads."""
        if "flaky" in item and context.attempt == 1:
            raise TryLater("the server is busy")
        if "dead" in item:
            raise TryLater("nobody answers", after=0.05)
        self.logger.info("fetched %s at attempt %d", item, context.attempt)
        return len(item)

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        """Keep what was given up."""
        self.logger.warning("to look at by hand: %s", context.item)

    def on_dropped(self, items: Sequence[str]) -> None:
        """Keep what a stop has left no time for."""
        self.logger.warning("not fetched: %s", ", ".join(items))


class Feeder(PeriodicTask):
    """Asks for some pages every hour."""

    DEPS = [Fetcher]
    INTERVAL = "1h"

    def execute(self, context: ExecuteContext | None = None) -> None:
        """Put items that nobody waits for, and one whose outcome matters."""
        fetcher = self.service.requireTask(Fetcher)
        fetcher.queue.put("flaky.example")
        fetcher.queue.put("dead.example")
        self.logger.info("front page: %d bytes", fetcher.submit("front.example").result())
        sizes = fetcher.map(f"{number}.example" for number in range(10))
        self.logger.info("all pages: %d bytes", sum(sizes))


class QueueService(VService):
    """Fetches pages."""

    TASKS = [Feeder]


if __name__ == "__main__":
    QueueService.initFromCLI()
