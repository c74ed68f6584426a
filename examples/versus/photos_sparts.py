"""A web service: a route hands work to a queue and awaits it; a schedule cleans up."""

import os
import time
from pathlib import Path
from queue import Full
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from sparts.context import ExecuteContext
from sparts.counters import counter
from sparts.option_types import duration
from sparts.options import option
from sparts.tasks.asgi import AsgiTask
from sparts.tasks.periodic import PeriodicTask
from sparts.tasks.queue import QueueTask
from sparts.vservice import VService


class Resize(QueueTask[str, str]):
    """Resizes photos."""

    OPT_PREFIX = "resize"
    WORKERS = 4
    MAX_ITEMS = 100

    def execute(self, item: str, context: ExecuteContext) -> str:
        time.sleep(0.2)
        return f"small-{item}"


class Cleanup(PeriodicTask):
    """Removes old photos."""

    OPT_PREFIX = "cleanup"
    INTERVAL = "1h"
    folder = option(type=Path, default="cache", help="where the photos are")
    keep = option(type=duration, default="1d", help="how long to keep a photo")
    removed = counter(help="Photos that were removed.")

    def execute(self, context: Any = None) -> None:
        for path in self.folder.glob("*.jpg"):
            if path.stat().st_mtime < time.time() - self.keep:
                os.remove(path)
                self.removed.increment()


app = FastAPI()


@app.get("/resize/{name}")
async def resize(name: str, request: Request) -> dict[str, str]:
    queue = request.scope["sparts.service"].requireTask(Resize)
    try:
        return {"resized": await queue.submit(name, timeout=0)}
    except Full:
        raise HTTPException(503, "Too many photos are waiting.") from None


class Web(AsgiTask):
    """Serves the route."""

    APP = app
    DEPS = [Resize]
    DEFAULT_PORT = 8000


class Photos(VService):
    """Resizes photos."""

    TASKS = [Web, Cleanup, "StatusHTTPTask"]


if __name__ == "__main__":
    Photos.initFromCLI()
