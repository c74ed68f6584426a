"""The numbers of a service as a person reads them, and the most important of them."""

from __future__ import annotations

from math import isfinite, nan
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.counters.metric import label_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sparts.counters import Reading

KEY_FIGURES = (
    *("requests", "calls", "queue_depth", "n_completed", "n_iterations", "received", "started"),
)
"""The most important counters of a task, the best first."""
WORK = ("requests", "calls", "n_completed", "n_iterations")
DURATIONS = ("request_duration_ms", "call_duration_ms", "execute_duration_ms")
FAILURES = ("n_failures", "n_unhandled", "n_dead_letters", "n_callback_errors")
QUIET = ("n_failures", "n_restarts")


class Figure(NamedTuple):
    """One number: of which counter, and which part of that."""

    task: str
    name: str
    part: str
    grows: bool
    help: str
    unit: str

    @property
    def key(self) -> str:
        """What distinguishes it from all others."""
        return f"{self.task}/{self.name}/{self.part}"


class Figures:
    """All numbers of a service at one time.

    Args:
        readings: what `VService.describe_counters` gives.
        own: the name of the status task, whose requests are nobody's work.
    """

    def __init__(self, readings: Iterable[tuple[str, Reading]], own: str) -> None:
        self.figures: list[Figure] = []
        self.values: list[float] = []
        self.headline: dict[str, list[str]] = {"throughput": [], "latency": [], "errors": []}
        """The keys of the numbers whose sum (of ``latency``: the highest) is in the headline."""
        by_task: dict[str, list[Figure]] = {}
        for task, reading in readings:
            if "le" in reading.labels:
                continue
            figure = _figure(task, reading)
            self.figures.append(figure)
            self.values.append(reading.value)
            by_task.setdefault(task, []).append(figure)
            if _is_failure(reading):
                self.headline["errors"].append(figure.key)
        self.keys: dict[str, str] = {
            task: key for task, mine in by_task.items() if (key := _key_of(mine))
        }
        """The key of the most important number of each task."""
        for task, mine in by_task.items():
            if task != own:
                self.headline["throughput"] += _first(mine, WORK)
                self.headline["latency"] += _durations(mine)

    def numbers(self) -> Iterator[tuple[str, float, bool]]:
        """Give the key and the value of each number, and whether it only grows."""
        for figure, value in zip(self.figures, self.values, strict=True):
            yield figure.key, value if isfinite(value) else nan, figure.grows

    def described(self) -> list[dict[str, Any]]:
        """Return what each number is, as JSON can carry it."""
        return [{**figure._asdict(), "key": figure.key} for figure in self.figures]

    def plain_values(self) -> list[float | None]:
        """Return the values, in the same order."""
        return [value if isfinite(value) else None for value in self.values]


def _figure(task: str, reading: Reading) -> Figure:
    labels = dict(reading.labels)
    part, grows, unit = "", reading.kind == "counter", reading.unit
    if reading.kind in ("summary", "histogram"):
        what, window = labels.pop("type"), labels.pop("window", None)
        part = f"{what} of {window} s" if window else f"{what}, in all"
        grows = window is None
        unit = {"count": "", "rate": "/s"}.get(what, unit)
    name = reading.name + (" " + label_text(labels.items()) if labels else "")
    return Figure(task, name, part, grows, reading.help, unit)


def _is_failure(reading: Reading) -> bool:
    if reading.name == "responses":
        return str(reading.labels.get("status", "")).startswith("5")
    return reading.name in FAILURES


def _first(figures: list[Figure], names: Iterable[str]) -> list[str]:
    for name in names:
        for figure in figures:
            if figure.name == name and not figure.part:
                return [figure.key]
    return []


def _durations(figures: list[Figure]) -> list[str]:
    for name in DURATIONS:
        mine = {each.part.partition(" s")[0]: each.key for each in figures if each.name == name}
        for part in ("p99 of 60", "avg of 60"):
            if part in mine:
                return [mine[part]]
    return []


def _key_of(figures: list[Figure]) -> str:
    found = _first(figures, KEY_FIGURES)
    found += [each.key for each in figures if not each.part and each.name not in QUIET]
    return found[0] if found else ""
