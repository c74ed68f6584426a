"""A service of its own process: works on a queue, and notes each item that it has done in a file.

python -m tests.amqp.worker FOLDER KIND --worker-broker URL ...
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from sparts.tasks.amqp.async_queue import AsyncAMQPQueueTask
from sparts.tasks.amqp.queue import AMQPQueueTask, ExecuteContext, TryLater
from sparts.vservice import VService

FOLDER, KIND = sys.argv[1:3]
NOTES = os.open(os.path.join(FOLDER, f"done.{os.getpid()}"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)


def work(item: Any, context: ExecuteContext) -> float:
    """Do what an item says; return how many seconds that takes."""
    if item == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    if isinstance(item, list) and item[0] == "later" and context.attempt == 1:
        raise TryLater("later", after=item[1])
    return 30.0 if item == "slow" and context.attempt == 1 else 0.002


def note(item: Any) -> Any:
    """Note that an item is done, in one write."""
    os.write(NOTES, f"{item}\n".encode())
    return item


class Worker(AMQPQueueTask):
    """Does it in threads."""

    OPT_PREFIX, QUEUE = "worker", os.environ["QUEUE"]
    WORKERS, MAX_ATTEMPTS, DELIVERY_LIMIT = 4, 30, 100

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Do what the item says."""
        if item == "slow":
            print("began", flush=True)
        time.sleep(work(item, context))
        return note(item)


class AsyncWorker(AsyncAMQPQueueTask):
    """Does it in coroutines."""

    OPT_PREFIX, QUEUE = "worker", os.environ["QUEUE"]
    WORKERS, MAX_ATTEMPTS, DELIVERY_LIMIT = 4, 30, 100

    async def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Do what the item says."""
        await asyncio.sleep(work(item, context))
        return note(item)


class Service(VService):
    """A service of one of them."""

    TASKS = [AsyncWorker if KIND == "async" else Worker]


if __name__ == "__main__":
    sys.argv[1:3] = []
    Service.initFromCLI()
