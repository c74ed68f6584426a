"""`samples`: windows, percentiles, bounded memory, and a clock that tests turn."""

from __future__ import annotations

import math
import random
import sys
import tracemalloc
from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sparts.counters import SampleType, samples
from sparts.counters.spans import Span, bins_of
from sparts.testing.clock import TurnableClock

ALL = list(SampleType)
finite = st.floats(allow_nan=False, allow_infinity=False, width=64).filter(
    lambda value: not 0 < abs(value) < 2.3e-308  # what is that small counts as zero
)


def tell(given: samples, kind: str, window: int = 60) -> Any:
    """Read one of its counters."""
    return given.getCounter(f"{given.name}.{kind}.{window}")


def recording(
    *types: SampleType, windows: Sequence[int] = (60,), start: float = 1000.0
) -> tuple[samples, TurnableClock]:
    """Make one that is named x, of all types if none are given, and its clock."""
    clock = TurnableClock(start)
    return samples(types=types or ALL, windows=windows, name="x", clock=clock), clock


def test_counter_is_named_by_name_type_and_window() -> None:
    recorded, _ = recording(SampleType.MAX)
    recorded.add(3)
    recorded.add(2)
    assert recorded.getCounter("x.max.60") == recorded() == 3
    assert list(recorded.getCounters()) == ["x.max.60"]
    with pytest.raises(KeyError, match=r"'x\.min\.60'. There are: x\.max\.60"):
        recorded.getCounter("x.min.60")


@pytest.mark.parametrize("window", [0, -1, 0.5])
def test_window_must_be_whole_seconds(window: float) -> None:
    with pytest.raises(ValueError, match="whole number of seconds"):
        samples(windows=[window])  # type: ignore[list-item]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_infinite_value_is_refused_without_trace(value: float) -> None:
    recorded, _ = recording()
    with pytest.raises(ValueError, match="finite"):
        recorded.add(value)
    assert recorded.totals() == (0, 0)


def test_each_type_tells_of_its_window() -> None:
    recorded, clock = recording(windows=[60, 600])
    for value in (1, 2, 3, 6):
        recorded.add(value)
    clock.turn(100)
    recorded.add(10)
    kinds = ("count", "sum", "avg", "max", "min")
    assert [tell(recorded, kind) for kind in kinds] == [1, 10, 10, 10, 10]
    assert [tell(recorded, kind, 600) for kind in kinds] == [5, 22, 4.4, 10, 1]
    assert tell(recorded, "p50", 600) == pytest.approx(3, rel=0.01)
    assert tell(recorded, "p99.9", 600) == pytest.approx(10, rel=0.01)
    clock.turn(601)
    assert {fn() for fn in recorded.getCounters().values()} == {0.0}


def test_rate_counts_time_since_the_start() -> None:
    recorded, clock = recording(SampleType.RATE)
    for _ in range(20):
        recorded.add(1)
        clock.turn(0.5)
    assert recorded() == pytest.approx(2.0)
    for _ in range(300):
        recorded.add(1)
        clock.turn(0.5)
    assert recorded() == pytest.approx(2.0, rel=0.01)


@pytest.mark.parametrize("window", [1, 5, 60, 61, 119, 600, 3600])
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.999])
def test_value_leaves_its_window_within_one_second(window: int, offset: float) -> None:
    recorded, clock = recording(SampleType.COUNT, windows=[window], start=1000 + offset)
    recorded.add(1)
    clock.turn(window - 1)
    assert recorded() == 1
    clock.turn(1)
    assert recorded() == 0


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.floats(0, 3) | st.floats(0, 90), st.floats(-1e6, 1e6)),
        min_size=1,
        max_size=200,
    ),
    window=st.sampled_from([1, 7, 10, 60, 100, 600]),
    read=st.booleans(),
)
@example(steps=[(1.0, 5.0)] * 200, window=100, read=False)
def test_windows_equal_what_a_careful_list_says(
    steps: list[tuple[float, float]], window: int, read: bool
) -> None:
    recorded, clock = recording(windows=[window, 1000])
    kept: list[tuple[int, float]] = []
    for number, (pause, value) in enumerate(steps, 1):
        clock.turn(pause)
        recorded.add(value)
        now = math.floor(clock.monotonic())
        kept.append((now, value))
        assert len(recorded._marks) <= 61
        if not read and number < len(steps):
            continue  # values keep their seconds although nobody reads them
        inside = sorted(value for second, value in kept if second > now - window)
        assert tell(recorded, "count", window) == len(inside)
        assert tell(recorded, "max", window) == inside[-1]
        assert tell(recorded, "min", window) == inside[0]
        assert tell(recorded, "sum", window) == pytest.approx(math.fsum(inside), abs=1e-3)
        middle = inside[math.ceil(len(inside) / 2) - 1]
        assert tell(recorded, "p50", window) == pytest.approx(middle, rel=0.01)
    count, total = recorded.totals()
    assert count == len(kept)
    assert total == pytest.approx(math.fsum(value for _, value in kept), abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(values=st.lists(finite, min_size=1, max_size=300))
def test_percentiles_are_within_one_percent_of_any_values(values: list[float]) -> None:
    recorded, _ = recording()
    for value in values:
        recorded.add(value)
    values.sort()
    for name, permille in {"p50": 500, "p90": 900, "p99": 990, "p99.9": 999}.items():
        true = values[-(-len(values) * permille // 1000) - 1]
        assert abs(tell(recorded, name) - true) <= 0.01 * abs(true)


def test_memory_does_not_grow_with_number_of_values() -> None:
    recorded, clock = recording()
    dice = random.Random(7)  # noqa: S311 - repeatable
    values = [dice.lognormvariate(0, 1) for _ in range(500)]

    def minutes(count: int, per_second: int) -> None:
        for _ in range(count * 60):
            for value in values[:per_second]:
                recorded.add(value)
            clock.turn(1)

    minutes(2, 500)
    tracemalloc.start()
    try:
        minutes(3, 500)
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 500_000  # three minutes hold what one does; 90,000 floats would be 2 MB
    assert len(recorded._seconds) <= 60
    assert len(recorded._minutes) <= 2
    bins_a_second = len(recorded._seconds[-1].packed[0])  # type: ignore[index]
    for _ in range(20):
        for value in values:
            recorded.add(value)
    assert recorded.read(SampleType.COUNT, 60) == 59 * 500 + 20 * 500
    assert len(recorded._within.bins or ()) == bins_a_second
    assert not recorded._pending


def test_values_share_bounded_number_of_bins() -> None:
    recorded, clock = recording()
    for exponent in range(-300_000, 300_000, 40):
        recorded.add(10.0 ** (exponent / 1000))
    clock.turn(1)
    recorded.add(1)
    assert tell(recorded, "count") == 15_001
    packed = recorded._seconds[-1].packed
    assert packed is not None
    assert len(packed[0]) == 4096
    assert sum(packed[1]) == 15_000
    assert tell(recorded, "p90") == pytest.approx(1e240, rel=0.1)


def test_reading_costs_the_same_whatever_was_added(monkeypatch: pytest.MonkeyPatch) -> None:
    merged = 0

    class CountingSpan(Span):
        __slots__ = ()

        def merge(self, other: Span) -> None:
            nonlocal merged
            merged += 1 + len(list(other.pairs()))
            super().merge(other)

    def work_of_a_read(adds: int) -> int:
        nonlocal merged
        recorded, clock = recording(windows=[3600])
        for _ in range(3600):
            for number in range(adds):
                recorded.add(number % 3)
            clock.turn(1)
        recorded.add(1)
        tell(recorded, "p99", 3600)  # counts what is pending, of which there is a batch at most
        merged = 0
        tell(recorded, "p99", 3600)
        return merged

    monkeypatch.setattr("sparts.counters.sampling.Span", CountingSpan)
    few, many = work_of_a_read(3), work_of_a_read(30)
    assert few == many
    assert many < 1000


def test_value_arriving_during_the_sort_is_counted() -> None:
    recorded = samples(types=[SampleType.COUNT], windows=[60], name="x", clock=TurnableClock())

    class Busy(array):  # type: ignore[type-arg]  # at run time it takes no argument
        """What is pending, to which another thread adds just after it was looked at."""

        def __getitem__(self, key: Any) -> Any:
            found = super().__getitem__(key)
            self.append(7.0)
            return found

    recorded.add(1)
    recorded._pending = Busy("d", recorded._pending)
    assert recorded() == 1
    assert recorded() == 2
    assert recorded.totals() == (3, 15)


def test_reset_forgets_everything() -> None:
    recorded, _ = recording(SampleType.COUNT, SampleType.P99)
    recorded.add(1)
    recorded.reset()
    assert recorded.getCounters() == {"x.count.60": 0}
    assert recorded.getCounter("x.p99.60") is None
    assert recorded.totals() == (0, 0)


def test_samples_on_class_take_clock_of_instance() -> None:
    class Task:
        took = samples(types=[SampleType.COUNT], windows=[60])

        def __init__(self, clock: TurnableClock) -> None:
            self.clock = clock

    clock = TurnableClock()
    task = Task(clock)
    task.took.add(1)
    clock.turn(61)
    assert task.took() == 0


def test_zeros_of_both_signs_are_near_zero() -> None:
    recorded = recording()[0]
    for value in (0.0, -0.0, 5e-324, -5e-324, 1e-310):
        recorded.add(value)
    for name in ("p50", "p90", "p99", "p99.9"):
        assert abs(tell(recorded, name)) < 2.3e-308
    recorded.add(-1.0)
    assert recorded.read(SampleType.MIN, 60) == -1.0


def test_buckets_include_their_bounds() -> None:
    recorded, clock = recording(SampleType.P50, windows=[1])
    assert recorded.buckets() == [(math.inf, 0)]
    for value in (-7, 0, 0.75, 1, 1.5, 2, 1000):
        recorded.add(value)
        clock.turn(5)  # so that it has left its window
    expected = [(0.0, 2), (0.5, 2), (1.0, 4), (2.0, 6), (512.0, 6), (1024.0, 7), (math.inf, 7)]
    assert recorded.buckets() == expected
    recorded.add(1.7e308)
    recorded.add(5e-324)
    buckets = dict(recorded.buckets())
    assert (buckets[0.0], buckets[1024.0], buckets[math.inf]) == (2, 8, 9)
    recorded.reset()
    assert recorded.buckets() == [(math.inf, 0)]
    assert samples(types=[SampleType.AVG], name="x").buckets() == []


@settings(max_examples=100, deadline=None)
@given(values=st.lists(finite, max_size=100))
def test_buckets_equal_what_a_careful_list_says(values: list[float]) -> None:
    recorded = samples(types=[SampleType.P50], windows=[60], name="x", clock=TurnableClock())
    for value in values:
        recorded.add(value)
    buckets = recorded.buckets()
    assert buckets == [(bound, sum(value <= bound for value in values)) for bound, _ in buckets]
    assert len(buckets) <= 2 * len(values) + 1


def test_adding_pauses_seldom_and_for_few_values(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    take = Span.take

    def noting(span: Span, batch: array[float]) -> None:
        taken.append(len(batch))
        take(span, batch)

    monkeypatch.setattr(Span, "take", noting)
    recorded = recording()[0]
    for _ in range(5000):
        recorded.add(1.0)
    assert tell(recorded, "count") == 5000
    assert max(taken) <= 256
    assert len(taken) < 5000 / 200  # far from the slowest hundredth


@given(st.lists(finite.filter(lambda value: value > 0), min_size=1))
@settings(max_examples=200, deadline=None)
def test_quick_way_finds_the_same_bins(values: list[float]) -> None:
    edges = [up for value in values for up in (value, math.ldexp(1.0, math.frexp(value)[1] - 1))]
    edges += [math.nextafter(edge, 0) for edge in edges]
    found = array("d", [edge for edge in edges if edge >= sys.float_info.min])
    assert bins_of(found, min(found)) == bins_of(found, -1.0)
