"""Measure contenders in turns, and single calls in loops: where the numbers come from."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor
from typing import TypeVar

T = TypeVar("T")

DEFAULT_ROUNDS = 11


def rounds_wanted(rounds: int) -> int:
    """Give how many rounds to measure: `rounds`, or `BENCH_ROUNDS` if set (3: a quick look)."""
    return int(os.environ.get("BENCH_ROUNDS", rounds))


def interleave(
    contenders: Mapping[str, Callable[[], T]], *, rounds: int = DEFAULT_ROUNDS, warmup: int = 1
) -> dict[str, list[T]]:
    """Call every contender once a round, in turns, and give each one's results in order of rounds.

    Every other round goes backwards (A B, B A, ...), so that none always runs on the cache, the
    heap or the clock speed that another left. The first `warmup` rounds are thrown away. An
    exception of a contender ends the benchmark.
    """
    results: dict[str, list[T]] = {name: [] for name in contenders}
    order = list(contenders)
    for number in range(warmup + rounds_wanted(rounds)):
        for name in order if number % 2 == 0 else reversed(order):
            gc.collect()
            result = contenders[name]()
            if number >= warmup:
                results[name].append(result)
    return results


def pairwise(
    contenders: Mapping[str, Callable[[], float]], *, rounds: int, warmup: int = 5
) -> dict[str, list[float]]:
    """Do what `interleave` does, for turns so short that its clean-up would take longer than they.

    What differs from round to round then differs little between two turns of one round.
    """
    results: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders.items())
    for number in range(warmup + rounds_wanted(rounds)):
        for name, measure in order if number % 2 == 0 else reversed(order):
            found = measure()
            if number >= warmup:
                results[name].append(found)
    return results


def confidence(samples: Sequence[float]) -> tuple[float, float]:
    """Give the interval that holds the median of what was sampled, with 95 % confidence."""
    ordered, half = sorted(samples), len(samples) / 2
    reach = 0.98 * len(samples) ** 0.5
    last = len(ordered) - 1
    return ordered[max(0, floor(half - reach))], ordered[min(last, ceil(half + reach) - 1)]


def per_call(function: Callable[[], object], *, seconds: float = 0.1) -> Callable[[], float]:
    """Make a contender of a cheap function: it gives the seconds of one call, the mean of a loop.

    The loop is as long as takes about `seconds` (found once, here); the garbage collector is off
    in it. The price of the loop itself, about 10 ns, is in the number of every contender alike.
    """
    calls, spent = 1, 0.0
    while spent < seconds / 4:
        calls *= 2
        spent = _time_calls(function, calls)
    calls = max(1, round(calls * seconds / spent))
    return lambda: _time_calls(function, calls) / calls


def _time_calls(function: Callable[[], object], calls: int) -> float:
    """Give the seconds that `calls` calls take."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        began = time.perf_counter()
        for _ in range(calls):
            function()
        return time.perf_counter() - began
    finally:
        if enabled:
            gc.enable()
