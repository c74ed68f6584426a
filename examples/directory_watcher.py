"""Logs what happens to the files of a directory: ``--Inbox-path /some/where``.

The kernel reports changes at once; with --Inbox-poll, the directory is read every second.
"""

import os

from sparts.tasks.file import DirectoryWatcherTask
from sparts.vservice import VService


class Inbox(DirectoryWatcherTask):
    """Watches a directory, also while it does not exist."""

    PATH = "inbox"
    IGNORE_INITIAL_FILES = False

    def onFileCreated(self, name: str, stat: os.stat_result) -> None:  # noqa: N802
        """Learn of a new file."""
        self.logger.info("%s is here, %d bytes", name, stat.st_size)

    def onFileChanged(  # noqa: N802
        self, name: str, old_stat: os.stat_result, new_stat: os.stat_result
    ) -> None:
        """Learn of a file with other contents."""
        self.logger.info("%s has %d bytes now", name, new_stat.st_size)

    def onFileDeleted(self, name: str, old_stat: os.stat_result) -> None:  # noqa: N802
        """Learn of a file that is gone."""
        self.logger.info("%s is gone", name)


class WatcherService(VService):
    """Watches a directory."""

    TASKS = [Inbox]


if __name__ == "__main__":
    WatcherService.initFromCLI()
