"""inbox_sparts.py by watchdog and threads."""

import argparse
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

log = logging.getLogger("Importer")
MAX_ATTEMPTS = 3
RETRY_AFTER = 0.1
STOP_TIMEOUT = 25.0


class Import:
    """Threads that write NAME.count, the length of each file."""

    def __init__(self, workers: int) -> None:
        self.items: queue.Queue[tuple[Path, int] | None] = queue.Queue()
        self.lock = threading.Lock()
        self.timers: set[threading.Timer] = set()
        self.counts = {"completed": 0, "retried": 0, "dead": 0}
        self.idle = threading.Condition(self.lock)
        self.unfinished = 0
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(workers)]
        for thread in self.threads:
            thread.start()

    def put(self, path: Path) -> None:
        with self.lock:
            self.unfinished += 1
        self.items.put((path, 0))

    def work(self) -> None:
        while (item := self.items.get()) is not None:
            path, attempt = item
            try:
                self.execute(path)
            except (OSError, ValueError) as error:
                log.info("%s failed at attempt %d: %s", path, attempt + 1, error)
                if attempt + 1 < MAX_ATTEMPTS:
                    self.retry(path, attempt + 1)
                    continue
                path.rename(path.with_suffix(".failed"))
                self.done("dead")
            else:
                self.done("completed")

    def done(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1
            self.unfinished -= 1
            self.idle.notify_all()

    def retry(self, path: Path, attempt: int) -> None:
        def again() -> None:
            with self.lock:
                self.timers.discard(timer)
            self.items.put((path, attempt))

        timer = threading.Timer(RETRY_AFTER * 2 ** (attempt - 1), again)
        timer.daemon = True
        with self.lock:
            self.timers.add(timer)
            self.counts["retried"] += 1
        timer.start()

    def execute(self, path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        path.with_suffix(".count").write_text(f"{len(text)}\n")
        path.unlink()
        log.info("%s is done", path.name)

    def drain(self) -> None:
        with self.lock:
            self.idle.wait_for(lambda: not self.unfinished)
        for _ in self.threads:
            self.items.put(None)
        for thread in self.threads:
            thread.join()


class Inbox(FileSystemEventHandler):
    """Puts what comes into the folder into the queue."""

    def __init__(self, importer: Import) -> None:
        self.importer = importer

    def on_created(self, event: FileSystemEvent) -> None:
        self.add(Path(os.fsdecode(event.src_path)))

    def on_moved(self, event: FileSystemEvent) -> None:
        self.add(Path(os.fsdecode(event.dest_path)))

    def add(self, path: Path) -> None:
        if path.suffix == ".txt" and path.exists():
            self.importer.put(path)


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Imports the files of a folder.")
    for name, kind, default, text in (
        ("inbox-path", Path, "inbox", "the folder"),
        ("import-workers", int, "2", "threads that process files"),
        ("level", str, "DEBUG", "what to log"),
    ):
        variable = "IMPORTER_" + name.upper().replace("-", "_")
        parser.add_argument(
            f"--{name}", type=kind, default=os.environ.get(variable, default), help=text
        )
    return parser.parse_args(argv)


def main(options: argparse.Namespace) -> int:
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        faulthandler.dump_traceback_later(STOP_TIMEOUT, exit=True)
        stop.set()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    importer = Import(options.import_workers)
    inbox = Inbox(importer)
    observer = Observer()
    observer.schedule(inbox, str(options.inbox_path))
    observer.start()
    for path in sorted(options.inbox_path.iterdir()):
        inbox.add(path)
    log.info("All tasks started")
    began = time.monotonic()
    while not stop.wait(1.0):  # a signal just before the wait does not end it
        pass
    observer.stop()
    observer.join()
    importer.drain()
    log.info("%s in %.0f s", importer.counts, time.monotonic() - began)
    return 0


if __name__ == "__main__":
    options = parse(sys.argv[1:])
    logging.basicConfig(level=options.level, format="%(levelname)s:%(name)s:%(message)s")
    sys.exit(main(options))
