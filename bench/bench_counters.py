"""What counting costs, against prometheus_client in the same process."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram
from sparts.counters import SampleType, counter, samples
from sparts.testing.clock import TurnableClock

from bench.harness import Report, compare_calls, interleave, per_call

PEER = "prometheus-client"
PLAIN = [SampleType.COUNT, SampleType.AVG, SampleType.MAX, SampleType.MIN]
WINDOWS = [60, 3600]


class Ours:
    """An instance with counters, as a task is one."""

    done = counter()
    took = samples(types=PLAIN, windows=WINDOWS)
    took_fully = samples(types=list(SampleType), windows=WINDOWS)


def over(values: list[float], add: Callable[[float], object]) -> Callable[[], None]:
    """Make a call that adds every one of ``values``."""

    def run() -> None:
        for value in values:
            add(value)

    return run


def filled(adds_a_second: int) -> samples:
    """Samples of an hour's window with an hour of values in them."""
    clock = TurnableClock()
    recorded = samples(types=list(SampleType), windows=[3600], name="x", clock=clock)
    for _ in range(3600):
        for number in range(adds_a_second):
            recorded.add(number % 5 + 1)
        clock.turn(1)
    return recorded


def main() -> None:
    """Measure adding and reading."""
    ours = Ours()
    registry = CollectorRegistry()
    theirs = Counter("done", "done", registry=registry)
    histogram = Histogram("took", "took", registry=registry)
    dice = random.Random(7)  # noqa: S311 - repeatable
    values = [math.exp(dice.gauss(-2.5, 1.2)) for _ in range(1000)]
    with Report("counters") as report:
        compare_calls(
            report, "counter.increment", ours=ours.done.increment,
            peers={PEER: theirs.inc}, at_most=0.6,
        )  # fmt: skip
        observe = over(values, histogram.observe)
        for label, add in (
            ("samples.add, without percentiles, 1,000 values", ours.took.add),
            ("samples.add, with percentiles, 1,000 values", ours.took_fully.add),
        ):
            compare_calls(report, label, ours=over(values, add), peers={PEER: observe}, at_most=1.0)
        few, many = filled(5), filled(100)
        reads = {
            str(adds): per_call(partial(recorded.getCounter, "x.p99.3600"))
            for adds, recorded in ((5, few), (100, many))
        }
        rounds = interleave(reads)
        report.ratio(
            "read p99 of an hour, 100 values a second", rounds["100"], rounds["5"],
            peer="5 values a second", at_most=1.1,
        )  # fmt: skip


if __name__ == "__main__":
    main()
