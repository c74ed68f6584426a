"""What was added in one span of time (a second, a minute, a window): the material of `samples`."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from math import inf
from typing import Final

from sparts.counters.percentiles import bins_of

MOST_BINS: Final = 4096
"""Bins kept of one finished second; past it (19 orders of magnitude) the smallest share one."""


class Span:
    """Count, sum, smallest, largest and bins of the values of one span that begins at ``start``.

    Times are seconds of a monotonic clock; ``end`` does not belong to the span. ``bins`` is None
    where nobody asks for percentiles. Not locked: the owner sees to that.
    """

    __slots__ = ("bins", "count", "end", "high", "low", "packed", "start", "total")

    def __init__(self, start: int, length: int, with_bins: bool) -> None:
        """Begin an empty span of ``length`` seconds at ``start``."""
        self.start: int = start
        self.end: int = start + length
        self.count: int = 0
        self.total: float = 0
        self.low: float = inf
        self.high: float = -inf
        self.bins: Counter[int] | None = Counter() if with_bins else None
        self.packed: tuple[array[int], array[int]] | None = None

    def take(self, values: array[float]) -> None:
        """Count ``values``, of which there is at least one."""
        self.count += len(values)
        self.total += sum(values)
        low = min(values)
        self.low = min(self.low, low)
        self.high = max(self.high, max(values))
        if self.bins is not None:
            self.bins.update(bins_of(values, low))

    def merge(self, other: Span) -> None:
        """Take over what ``other`` holds."""
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)
        bins = self.bins
        if bins is not None:
            for number, count in other.pairs():
                bins[number] += count

    def pairs(self) -> Iterable[tuple[int, int]]:
        """The bins as pairs of number and count, packed or not."""
        if self.packed is not None:
            return zip(*self.packed, strict=True)
        return self.bins.items() if self.bins is not None else ()

    def copy(self) -> Span:
        """The same once more, to be read while the original goes on."""
        twin = Span(self.start, self.end - self.start, self.bins is not None)
        twin.merge(self)
        return twin

    def pack(self) -> None:
        """Turn the bins of a span that has ended into arrays of 12 bytes a bin."""
        bins = self.bins
        if bins is None:
            return
        numbers = sorted(bins, key=abs)
        for number in numbers[:-MOST_BINS]:
            nearest = numbers[-MOST_BINS]
            bins[nearest] += bins.pop(number)
        self.packed = (array("i", bins.keys()), array("Q", bins.values()))
        self.bins = None
