"""A thread that uses a library of asyncio: it calls into the service's event loop."""
import asyncio

from sparts.tasks.asyncio import AsyncioLoopTask
from sparts.tasks.periodic import ExecuteContext, PeriodicTask
from sparts.vservice import VService


async def look_up(name: str) -> str:
    addresses = await asyncio.get_running_loop().getaddrinfo(name, 80)
    return str(addresses[0][4][0])


class LookUp(PeriodicTask):
    INTERVAL = "10s"
    DEPS = [AsyncioLoopTask]

    def execute(self, context: ExecuteContext | None = None) -> None:
        loop = self.service.tasks.AsyncioLoopTask
        self.logger.info("localhost is %s", loop.call(look_up, "localhost").result(timeout=5))


class MyService(VService):
    TASKS = [LookUp]


if __name__ == "__main__":
    MyService.initFromCLI()
