"""Percentiles within 1 % of the true value, from bins whose widths grow with what they hold.

The number of a bin is the upper part of a float as IEEE 754 stores it: the exponent, and the first
6 bits of the fraction. So a bin is no wider than 1/64 of any value in it, and the number of bins
depends on the spread of the values and not on how many there are. Bins of different seconds add up
without loss. The upper end of a bin belongs to it, as in the histograms of Prometheus.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Final

_FRACTION: Final = 52  # bits, of a float
_KEPT: Final = 6
_DROPPED: Final = _FRACTION - _KEPT
_SIZE: Final = (1 << 63) - 1  # all but the sign
_BIAS: Final = 1023


def bins_of(values: array[float], positive: bool) -> list[int]:
    """The numbers of the bins of finite ``values``: 0 for zero, negative for negative values.

    Args:
        values: what to find the bins of, of the type ``d``.
        positive: whether all are larger than zero, which is found out faster.
    """
    stored = memoryview(values).cast("B").cast("q")
    if positive:
        return [(bits - 1) >> _DROPPED for bits in stored]
    sizes = ((bits & _SIZE, bits) for bits in stored)
    return [(-1 if bits < 0 else 1) * (max(size - 1, 0) >> _DROPPED) for size, bits in sizes]


def middle_of(number: int) -> float:
    """The value that stands for all of a bin."""
    size = abs(number)
    if size < 1 << _KEPT:  # zero, and what is next to it: less than 2.3e-308
        return 0.0
    exponent, fraction = divmod(size, 1 << _KEPT)
    middle: float = (1 + (fraction + 0.5) / (1 << _KEPT)) * 2.0 ** (exponent - _BIAS)
    return middle if number > 0 else -middle


def octaves_of(bins: Iterable[tuple[int, int]]) -> Counter[int]:
    """How many values have each exponent as IEEE 754 stores it; 0: what is not positive."""
    found: Counter[int] = Counter()
    for number, count in bins:
        found[max(number, 0) >> _KEPT] += count
    return found


def buckets_of(octaves: Mapping[int, int]) -> Iterator[tuple[float, int]]:
    """Bounds, each with how many values are not above it: both ends of what holds any, then inf."""
    total = 0
    for octave in sorted({end for full in octaves for end in (max(full - 1, 0), full)}):
        total += octaves.get(octave, 0)
        if octave < 2 * _BIAS:
            yield 2.0 ** (octave + 1 - _BIAS) if octave else 0.0, total
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
