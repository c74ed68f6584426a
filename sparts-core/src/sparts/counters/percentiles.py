"""Percentiles within 1 % of the true value, from bins whose widths grow with what they hold.

A value falls into the bin numbered by its logarithm, so that a bin's middle is never further than
`ERROR` from any value in it, relative to that value, and the number of bins depends on the spread
of the values and not on how many there are. Bins of different seconds add up without loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log

ERROR = 0.0099
"""Largest relative error of a percentile; a little below 1 % for rounding."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_SCALE = 1 / log(_GAMMA)
_SHIFT = 40_000
"""Added to a bin's number; larger than that of any float, so that numbers of bins are positive."""


def bins_of(values: list[float]) -> list[int]:
    """The numbers of the bins of finite ``values``: 0 for zero, negative for negative values."""
    if min(values) > 0:
        return [int(size * _SCALE + _SHIFT) for size in map(log, values)]
    return [
        (1 if value > 0 else -1) * int(log(abs(value)) * _SCALE + _SHIFT) if value else 0
        for value in values
    ]


def middle_of(number: int) -> float:
    """The value that stands for all of a bin."""
    if number == 0:
        return 0.0
    size = exp((abs(number) - _SHIFT) / _SCALE) * (2 * _GAMMA / (1 + _GAMMA))
    return size if number > 0 else -size


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
