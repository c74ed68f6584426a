"""Percentiles within 1 % of the true value, from bins whose widths grow with what they hold.

A value falls into the bin numbered by its logarithm, so that a bin's middle is never further than
`ERROR` from any value in it, relative to that value, and the number of bins depends on the spread
of the values and not on how many there are. Bins of different seconds add up without loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import exp, log

ERROR = 0.0099
"""Largest relative error of a percentile; a little below 1 % for rounding."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
SCALE = 1 / log(_GAMMA)
SHIFT = 40_000
"""Added to a bin's number; larger than that of any float, so that numbers of bins are positive."""


def bin_of(value: float) -> int:
    """The number of the bin of a finite ``value``: 0 for zero, negative for negative values."""
    if value > 0:
        return int(log(value) * SCALE + SHIFT)
    return -int(log(-value) * SCALE + SHIFT) if value else 0


def middle_of(number: int) -> float:
    """The value that stands for all of a bin."""
    if number == 0:
        return 0.0
    size = exp((abs(number) - SHIFT) / SCALE) * (2 * _GAMMA / (1 + _GAMMA))
    return size if number > 0 else -size


def merge(into: dict[int, int], bins: Iterable[tuple[int, int]]) -> None:
    """Add ``bins`` (pairs of number and count) to ``into``."""
    for number, count in bins:
        into[number] = into.get(number, 0) + count


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
