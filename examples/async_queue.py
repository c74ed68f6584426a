"""A queue whose items are worked on by coroutines: at most 20 at a time here."""
import asyncio

from sparts.tasks.async_periodic import AsyncPeriodicTask, ExecuteContext
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.vservice import VService


class Fetch(AsyncQueueTask):
    WORKERS = 20

    async def execute(self, item: int, context: ExecuteContext) -> str:
        await asyncio.sleep(0.01)
        return f"page {item}"


class Crawl(AsyncPeriodicTask):
    INTERVAL = "1m"
    DEPS = [Fetch]

    async def execute(self, context: ExecuteContext | None = None) -> None:
        fetch = self.service.tasks.Fetch
        pages = await asyncio.gather(*(fetch.submit(number) for number in range(100)))
        self.logger.info("fetched %d, the last is %s", len(pages), pages[-1])


class MyService(VService):
    TASKS = [Fetch, Crawl]


if __name__ == "__main__":
    MyService.initFromCLI()
