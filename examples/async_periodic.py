"""A coroutine that runs at an interval, without drift."""
import asyncio

from sparts.tasks.async_periodic import AsyncPeriodicTask, ExecuteContext
from sparts.vservice import VService


class Heartbeat(AsyncPeriodicTask):
    INTERVAL = "5s"

    async def execute(self, context: ExecuteContext | None = None) -> None:
        await asyncio.sleep(0.01)
        self.logger.info("beat %d", self.n_iterations() + 1)


class MyService(VService):
    TASKS = [Heartbeat]


if __name__ == "__main__":
    MyService.initFromCLI()
