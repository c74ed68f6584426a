"""The GLib side of the soaked service; only where PyGObject is installed."""

from __future__ import annotations

from typing import Any

from gi.repository import GLib
from sparts.counters import counter
from sparts.loops import LoopBoundTask
from sparts.tasks.dbus.glib import GLibMainLoopTask


class GLibLoop(GLibMainLoopTask):
    """Runs GLib's loop."""


class GLibBeat(LoopBoundTask):
    """A timer of GLib's, ten times a second."""

    LOOP = GLibLoop
    beats = counter(help="Runs.")

    def start_in_loop(self) -> None:
        """Start the timer."""
        self._source: Any = GLib.timeout_source_new(100)
        self._source.set_callback(self._beat)
        self._source.attach(GLib.MainContext.ref_thread_default())

    def _beat(self, _: Any) -> Any:
        self.beats.increment()
        return GLib.SOURCE_CONTINUE

    def stop_in_loop(self) -> None:
        """End the timer."""
        self._source.destroy()
