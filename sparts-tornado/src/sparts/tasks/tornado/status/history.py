"""The last hour of every number, in bounded memory: one sample in ten seconds."""

from __future__ import annotations

import threading
from array import array
from collections import deque
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparts.tasks.tornado.status.figures import Figures

EVERY = 10.0
"""Seconds between two samples."""
SAMPLES = 360
"""How many samples are kept of each number."""
SERIES = 900
"""How many numbers are kept: with all samples, these take less than 2 MB."""


class History:
    """Samples of numbers, the growth per second of those that only grow. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=SAMPLES)
        self._rows: dict[str, array[float]] = {}
        self._last: dict[str, float] = {}

    def add(self, now: float, figures: Figures) -> None:
        """Add what the numbers are at a time (seconds since the epoch)."""
        with self._lock:
            seconds = now - self._times[-1] if self._times else 0.0
            self._times.append(now)
            found = {}
            for key, value, grows in figures.numbers():
                found[key] = self._shown(key, value, seconds) if grows else value
            for kind, keys in figures.headline.items():
                shown = [found[key] for key in keys if isfinite(found.get(key, nan))]
                best = max(shown, default=nan) if kind == "latency" else sum(shown)
                found[kind] = best if shown else nan
            for key in self._rows.keys() - found.keys():
                del self._rows[key]
            for key, value in found.items():
                self._append(key, value)
            self._last = {key: value for key, value, grows in figures.numbers() if grows}

    def _shown(self, key: str, value: float, seconds: float) -> float:
        before = self._last.get(key)
        if before is None or seconds <= 0 or value < before:  # new, or reset
            return nan
        return (value - before) / seconds

    def _append(self, key: str, value: float) -> None:
        row = self._rows.get(key)
        if row is None:
            if len(self._rows) >= SERIES:
                return
            row = self._rows[key] = array("f")
        row.extend([nan] * (len(self._times) - 1 - len(row)))
        if len(row) >= SAMPLES:
            del row[0]
        row.append(value)

    def told(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the samples of some numbers as JSON can carry them: times, and rows by key."""
        with self._lock:
            count = len(self._times)
            rows = {key: self._rows[key].tolist() for key in keys if key in self._rows}
            times = [round(time, 1) for time in self._times]
        shown = {key: [nan] * (count - len(row)) + row for key, row in rows.items()}
        return {
            "times": times,
            "rows": {key: [_short(value) for value in row] for key, row in shown.items()},
        }

    def size(self) -> int:
        """Return how many bytes the samples take."""
        with self._lock:
            return sum(row.buffer_info()[1] * row.itemsize for row in self._rows.values())


def _short(value: float) -> float | int | None:
    if not isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.4g}")
