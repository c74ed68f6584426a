"""What was added in one span of time (a second, a minute, a window): the material of `samples`.

Percentiles are within 1 % of the true value. They come from bins whose widths grow with what they
hold: each octave (from a power of two to the next) has 64 bins of one width. So a bin is no wider
than 1/64 of any value in it, and the number of bins depends on the spread of the values and not on
how many there are. Bins of different seconds add up without loss. The upper end of a bin belongs to
it, as in the histograms of Prometheus.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import ceil, copysign, frexp, inf, ldexp
from sys import float_info
from typing import Final

_BINS: Final = 64
"""How many an octave has."""
_SHIFT: Final = 1076
"""Makes the exponents of all positive floats, as `math.frexp` gives them, larger than 1."""
_LARGEST: Final = 1023
_NORMAL: Final = float_info.min
_FIRST: Final = (_SHIFT - _LARGEST) * _BINS + _BINS + 1
"""The number of the first bin of `_NORMAL`, less its exponent and fraction."""
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


def bins_of(values: array[float], low: float) -> list[int]:
    """The numbers of the bins of finite ``values``: 0 for zero, negative for negative values.

    ``low`` is the smallest of the values.
    """
    if low >= _NORMAL:  # the bits of such a float are its exponent and its fraction: 4 x as quick
        return [(bits - 1 >> 46) + _FIRST for bits in memoryview(values).cast("B").cast("q")]
    shift = (_SHIFT - 1) * _BINS
    found = []
    for value in values:
        fraction, exponent = frexp(value)
        if fraction > 0:
            found.append(exponent * _BINS + ceil(fraction * 2 * _BINS) + shift)
        else:
            size = exponent * _BINS + ceil(-fraction * 2 * _BINS) + shift
            found.append(-size if fraction else 0)
    return found


def middle_of(number: int) -> float:
    """The value that stands for all of a bin."""
    if not number:
        return 0.0
    octave, place = divmod(abs(number) - 1, _BINS)
    middle = ldexp((_BINS + place + 0.5) / (2 * _BINS), octave - _SHIFT)
    return copysign(middle, number)


def octaves_of(bins: Iterable[tuple[int, int]]) -> Counter[int]:
    """How many values each octave has, by a number that grows; 0: what is not positive."""
    found: Counter[int] = Counter()
    for number, count in bins:
        found[max(number - 1, 0) // _BINS] += count
    return found


def buckets_of(octaves: Mapping[int, int]) -> Iterator[tuple[float, int]]:
    """Bounds, each with how many values are not above it: both ends of what holds any, then inf."""
    total = 0
    for octave in sorted({end for full in octaves for end in (max(full - 1, 0), full)}):
        total += octaves.get(octave, 0)
        if octave <= _SHIFT + _LARGEST:
            yield ldexp(1.0, octave - _SHIFT) if octave else 0.0, total
    yield inf, total


def percentile(bins: Mapping[int, int], permille: int) -> float:
    """The value up to which ``permille`` thousandths of what is in ``bins`` lie; 0.0 of nothing.

    By nearest rank: always near a value that was added, never between two of them.
    """
    left = -(-sum(bins.values()) * permille // 1000)
    for number in sorted(bins):
        left -= bins[number]
        if left <= 0:
            return middle_of(number)
    return 0.0
