"""Files that come into a folder are processed by threads, with retries."""

import os
from pathlib import Path

from sparts.context import ExecuteContext
from sparts.tasks.file import DirectoryWatcherTask
from sparts.tasks.queue import QueueTask, TryLater
from sparts.vservice import VService


class Import(QueueTask[Path, None]):
    """Writes NAME.count, the length of each file."""

    WORKERS = 2
    MAX_ATTEMPTS = 3
    RETRY_AFTER = 0.1

    def execute(self, item: Path, context: ExecuteContext) -> None:
        try:
            text = item.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise TryLater(f"{item.name}: {error}") from error
        item.with_suffix(".count").write_text(f"{len(text)}\n")
        item.unlink()
        self.logger.info("%s is done", item.name)

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        context.item.rename(context.item.with_suffix(".failed"))


class Inbox(DirectoryWatcherTask):
    """Watches the folder."""

    OPT_PREFIX = "inbox"
    PATH = "inbox"
    IGNORE_INITIAL_FILES = False
    DEPS = [Import]

    def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
        if name.endswith(".txt"):
            self.service.requireTask(Import).queue.put(Path(self.path, name))


class Importer(VService):
    """Imports the files of a folder."""

    TASKS = [Inbox]


if __name__ == "__main__":
    Importer.initFromCLI()
