"""photos_sparts.py by FastAPI, uvicorn, APScheduler and prometheus_client."""

import argparse
import asyncio
import faulthandler
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from apscheduler.events import EVENT_JOB_ERROR
from apscheduler.schedulers.background import BackgroundScheduler
from fastapi import FastAPI, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Summary, generate_latest

log = logging.getLogger("Photos")
REMOVED = Counter("removed", "Photos that were removed.")
COMPLETED = Counter("completed", "Photos that were resized.")
FAILED = Counter("failed", "Photos that could not be resized.")
DEPTH = Gauge("queue_depth", "Photos that wait.")
DURATION = Summary("resize_seconds", "How long resizing takes.")
STOP_TIMEOUT = 25.0


class Resize:
    """Threads that resize photos."""

    def __init__(self, workers: int, max_items: int) -> None:
        self.items: queue.Queue[Any] = queue.Queue(max_items)
        DEPTH.set_function(self.items.qsize)
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def submit(self, name: str) -> Future[str]:
        future: Future[str] = Future()
        self.items.put_nowait((name, future))
        return future

    def work(self) -> None:
        while (item := self.items.get()) is not None:
            name, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with DURATION.time():
                    result = self.execute(name)
            except Exception as error:
                log.exception("Resizing %s failed", name)
                FAILED.inc()
                future.set_exception(error)
            else:
                COMPLETED.inc()
                future.set_result(result)

    def execute(self, name: str) -> str:
        time.sleep(0.2)
        return f"small-{name}"

    def drain(self) -> None:
        for _ in self.threads:
            self.items.put(None)
        for thread in self.threads:
            thread.join()


def cleanup(folder: Path, keep: float) -> None:
    for path in folder.glob("*.jpg"):
        if path.stat().st_mtime < time.time() - keep:
            os.remove(path)
            REMOVED.inc()


class Server(uvicorn.Server):
    """A server whose stop has a deadline, and whose exit status is ours."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        faulthandler.dump_traceback_later(STOP_TIMEOUT, exit=True)
        self.should_exit = True


class Photos:
    """What the routes need, from the start to the stop."""

    server: Server

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ready = False
        self.failed = False

    @asynccontextmanager
    async def lifespan(self, _app: FastAPI) -> AsyncIterator[None]:
        self.resize = Resize(self.options.resize_workers, self.options.resize_max_items)
        scheduler = BackgroundScheduler()
        arguments = [self.options.cleanup_folder, self.options.cleanup_keep]
        scheduler.add_job(cleanup, args=arguments)
        interval = self.options.cleanup_interval
        scheduler.add_job(cleanup, "interval", seconds=interval, args=arguments)
        scheduler.add_listener(self.job_failed, EVENT_JOB_ERROR)
        scheduler.start()
        self.ready = True
        log.info("All tasks started")
        yield
        self.ready = False
        await asyncio.to_thread(scheduler.shutdown)
        await asyncio.to_thread(self.resize.drain)

    def job_failed(self, event: Any) -> None:
        log.error("Cleaning up failed: %s", event.exception)
        self.failed = True
        self.server.should_exit = True

    def run(self) -> int:
        app = FastAPI(lifespan=self.lifespan)

        @app.get("/resize/{name}")
        async def resize(name: str) -> dict[str, str]:
            try:
                return {"resized": await asyncio.wrap_future(self.resize.submit(name))}
            except queue.Full:
                raise HTTPException(503, "Too many photos are waiting.") from None

        @app.get("/readyz")
        async def readyz() -> Response:
            ready = self.ready and not self.server.should_exit
            return Response("ok" if ready else "not ready", 200 if ready else 503)

        @app.get("/metrics")
        async def metrics() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

        config = uvicorn.Config(
            app, host=self.options.host, port=self.options.port, log_config=None
        )
        self.server = Server(config)
        self.server.run()
        return int(self.failed or not self.server.started)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Resizes photos.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )

    def add(name: str, kind: Any, default: Any, text: str) -> None:
        default = os.environ.get("PHOTOS_" + name.upper().replace("-", "_"), default)
        parser.add_argument(f"--{name}", type=kind, default=default, help=text)

    add("host", str, "127.0.0.1", "address to listen on")
    add("port", int, 8000, "port to listen on")
    add("resize-workers", int, 4, "threads that resize photos")
    add("resize-max-items", int, 100, "photos that may wait")
    add("cleanup-interval", float, 3600.0, "seconds between two runs")
    add("cleanup-folder", Path, Path("cache"), "where the photos are")
    add("cleanup-keep", float, 86400.0, "seconds to keep a photo")
    add("level", str, "DEBUG", "what to log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    logging.basicConfig(level=options.level, format="%(levelname)s:%(name)s:%(message)s")
    sys.exit(Photos(options).run())
