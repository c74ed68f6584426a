"""Code that needs GLib's main loop, as a task: Gio watches a file here.

Needs sparts-dbus[glib].
"""

import os
from typing import Any

from gi.repository import Gio
from sparts.loops import LoopBoundTask
from sparts.options import option
from sparts.vservice import VService


class FileWatch(LoopBoundTask):
    """Tells when a file changes."""

    OPT_PREFIX = "watch"
    LOOP = "GLibMainLoopTask"
    path = option(default="/etc/hosts", help="the file to watch")

    def start_in_loop(self) -> None:
        file = Gio.File.new_for_path(os.path.abspath(self.path))
        self.monitor = file.monitor_file(Gio.FileMonitorFlags.NONE)
        self.monitor.connect("changed", self.on_changed)
        self.logger.info("Watching %s", self.path)

    def on_changed(self, monitor: Any, file: Any, other: Any, event: Any) -> None:
        self.logger.info("%s: %s", file.get_basename(), event.value_nick)

    def stop_in_loop(self) -> None:
        self.monitor.cancel()


class WatchService(VService):
    """Watches a file, by Gio."""

    TASKS = [FileWatch]


if __name__ == "__main__":
    WatchService.initFromCLI()
