"""What `sparts top` knows of one service, from the events of its status task."""

from __future__ import annotations

from collections import deque
from typing import Any

WINDOW = 5.0
"""Seconds over which the growth of a number is measured."""
PLOTTED = 120
"""How many values a plot shows."""
HEADLINE = (("throughput", "/s"), ("latency", " ms"), ("errors", "/s"))


class Model:
    """The sections of the page as they are now, and rates."""

    def __init__(self) -> None:
        self.sections: dict[str, Any] = {}
        self.plots: dict[str, deque[float]] = {}
        """The last values by key, and by ``throughput``, ``latency`` and ``errors``."""
        self.lines: deque[dict[str, Any]] = deque(maxlen=500)
        self._raw: dict[str, deque[tuple[float, float]]] = {}
        self._now: dict[str, float | None] = {}

    def take(self, found: dict[str, Any]) -> None:
        """Take in what has changed."""
        history = found.pop("history", None)
        self.sections.update(found)
        if history is not None:
            for key, row in history["rows"].items():
                kept = [value for value in row if value is not None]
                self.plots[key] = deque(kept, maxlen=PLOTTED)
        now = self.sections["now"]
        self._now = {}
        for counter, value in zip(self.sections["counters"], self.sections["values"], strict=True):
            key = counter["key"]
            grows = counter["grows"] and value is not None
            self._now[key] = self._growth(key, now, value) if grows else value
        for kind, keys in self.sections["headline"].items():
            shown = [value for key in keys if (value := self._now.get(key)) is not None]
            if shown:
                self._now[kind] = max(shown) if kind == "latency" else sum(shown)
        for key in (*self.sections["headline"], *(each["key"] for each in self.tasks)):
            value = self._now.get(key)
            if value is not None:
                self.plots.setdefault(key, deque(maxlen=PLOTTED)).append(value)

    def _growth(self, key: str, now: float, value: float) -> float | None:
        seen = self._raw.setdefault(key, deque())
        if seen and value < seen[-1][1]:
            seen.clear()
        seen.append((now, value))
        while len(seen) > 2 and seen[0][0] < now - WINDOW:
            seen.popleft()
        then, before = seen[0]
        return (value - before) / (now - then) if now > then else None

    @property
    def tasks(self) -> list[dict[str, Any]]:
        """The tasks, in start order."""
        found: list[dict[str, Any]] = self.sections.get("tasks", [])
        return found

    @property
    def warnings(self) -> list[dict[str, Any]]:
        """The warnings, the oldest first."""
        found: list[dict[str, Any]] = self.sections.get("warnings", [])
        return found

    def headline(self) -> str:
        """Return throughput, latency and errors in a line."""
        return "   ".join(f"{kind} {shown(self._now.get(kind))}{unit}" for kind, unit in HEADLINE)

    def figure(self, task: dict[str, Any]) -> tuple[str, str]:
        """Return the name and the value of the most important number of a task."""
        for counter in self.sections["counters"]:
            if counter["key"] == task["key"]:
                value = self._now.get(task["key"])
                return counter["name"], shown(value) + ("/s" if counter["grows"] else "")
        return "", ""

    def numbers(self, task: str) -> list[tuple[str, str, str]]:
        """Return name, value and rate of each counter of a task."""
        found = []
        for counter, value in zip(self.sections["counters"], self.sections["values"], strict=True):
            if counter["task"] == task:
                name = f"{counter['name']} {counter['part']}".strip()
                rate = f"{shown(self._now.get(counter['key']))}/s" if counter["grows"] else ""
                found.append((name, f"{shown(value)} {counter['unit']}".strip(), rate))
        return found


def shown(value: float | None) -> str:
    """Return a number as a person reads it."""
    if value is None:
        return "-"
    return str(int(value)) if value == int(value) else f"{value:.3g}"


def spark(values: list[float], width: int) -> str:
    """Return a small plot of the last values."""
    last = values[-width:]
    high = max(last, default=0.0)
    if high <= 0:
        return "\u2581" * len(last)
    return "".join(
        "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"[min(7, max(0, int(8 * value / high)))]
        for value in last
    )
