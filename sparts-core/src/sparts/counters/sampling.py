"""`samples`: count, sum, mean, extremes, rate and percentiles over sliding windows.

Memory is bounded by the windows and by the spread of the values, never by how many are added: one
small record for each second and each minute of the largest window. A read merges at most the
seconds at the window's two edges and the minutes between them.
"""

from __future__ import annotations

import enum
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import floor, isfinite
from typing import Self

from sparts.clock import SYSTEM, Clock
from sparts.counters.metric import LiveNumber, Metric, Reading, live
from sparts.counters.spans import Span, buckets_of, octaves_of, percentile
from sparts.shown import ours

_MINUTE = 60
_BATCH = 256
"""Values that are kept at most before they are counted. 4096 saved a tenth of the time, and one
call in 4096 took a millisecond. With 128, what counted them was almost a hundredth of all calls:
with a few others that are late, it was the p99 of a server with one client."""


class SampleType(enum.Enum):
    """What `samples` can say about a window; the value stands in the counter's name."""

    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    AVERAGE = "avg"  # noqa: PIE796 - the established name of the same
    MAX = "max"
    MIN = "min"
    RATE = "rate"
    """How many were added a second; of the time since the start while that is shorter."""
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"
    P999 = "p99.9"


_ALWAYS = (SampleType.COUNT, SampleType.SUM, SampleType.RATE)
"""What can be said about no values, too."""
_PERMILLE = {SampleType.P50: 500, SampleType.P90: 900, SampleType.P99: 990, SampleType.P999: 999}


_TOLD: dict[SampleType, Callable[[Span, float], float]] = {
    SampleType.COUNT: lambda span, _: span.count,
    SampleType.SUM: lambda span, _: span.total,
    SampleType.AVG: lambda span, _: span.total / span.count,
    SampleType.MAX: lambda span, _: span.high,
    SampleType.MIN: lambda span, _: span.low,
    SampleType.RATE: lambda span, seconds: span.count / seconds,
}


class Samples(Metric):
    """Values over sliding windows; each pair of a type and a window is a counter of its own.

    Args:
        types: what to report; the mean by default.
        windows: lengths in whole seconds; a minute and an hour by default. The current second is
            the last of a window, so that a value leaves it at most a second early.
        name, help, unit: as for every `Metric`.
        clock: where time comes from; by default the ``clock`` of the object it is declared on, or
            the machine's.

    Of an empty window count, sum and rate are 0, and all else is None. Every method may be
    called from any thread.
    """

    __slots__ = (
        "_before", "_born", "_clock", "_marks", "_minutes", "_monotonic", "_octaves", "_pending",
        "_seconds", "_until", "_with_bins", "_within", "collect", "types", "windows",
    )  # fmt: skip

    kind = "summary"
    collect: Callable[[], object] | None
    """Called before each read, in the reader's thread: adds, with `add_many`, what its owner has
    collected until now."""

    def __init__(
        self,
        types: Iterable[SampleType] | None = None,
        windows: Iterable[int] | None = None,
        name: str | None = None,
        *,
        help: str = "",
        unit: str = "",
        clock: Clock | None = None,
    ) -> None:
        """Declare samples; see the class."""
        self.types: tuple[SampleType, ...] = tuple(types or (SampleType.AVG,))
        self.windows: tuple[int, ...] = tuple(sorted(windows or (60, 3600)))
        for window in self.windows:
            if window < 1 or window != int(window):
                raise ValueError(f"A window is a whole number of seconds from 1 up, not {window}.")
        self._clock = clock
        self._prepare(clock or SYSTEM)
        super().__init__(name=name, help=help, unit=unit)

    def _prepare(self, clock: Clock) -> None:
        self.collect = None
        self._with_bins = any(kind in _PERMILLE for kind in self.types)
        self._monotonic = clock.monotonic

    def _configure(self, declared: Self, owner: object) -> None:
        self.types = declared.types
        self.windows = declared.windows
        self._clock = declared._clock
        self._prepare(self._clock or getattr(ours(owner), "clock", None) or SYSTEM)
        super()._configure(declared, owner)

    def reset(self) -> None:
        """Forget what was added."""
        with self._lock:
            self._born = self._monotonic()
            self._before: tuple[int, float] = (0, 0)
            self._octaves: Counter[int] = Counter()
            self._seconds: deque[Span] = deque()
            self._minutes: deque[Span] = deque()
            self._within = Span(floor(self._born), 1, self._with_bins)
            self._pending = array("d")
            self._marks: list[tuple[int, int]] = []
            self._until = self._within.end

    def add(self, value: float) -> None:
        """Add one value, in whatever unit was declared; ValueError unless it is finite."""
        if not isfinite(value):
            raise ValueError(f"samples {self.name!r} takes finite numbers, not {value!r}.")
        # An array's append is exact between threads without the lock. What it collects is counted
        # many at once: that costs less, and is late for fewer.
        pending = self._pending
        if self._monotonic() >= self._until:
            self._mark()
        pending.append(value)
        if len(pending) >= _BATCH or len(self._marks) > _MINUTE:
            self._count()

    def add_many(self, values: array[float]) -> None:
        """Add an array ("d") of finite values, at less cost than one by one.

        They count as added in the second of the call before: call it, perhaps with nothing, before
        the first value of each second is collected.
        """
        self._pending.extend(values)
        if self._monotonic() >= self._until:
            self._mark()
        if len(self._pending) >= _BATCH or len(self._marks) > _MINUTE:
            self._count()

    def _mark(self) -> None:
        """Note that what is added from now on is of a later second."""
        with self._lock:
            second = floor(self._monotonic())
            self._marks.append((len(self._pending), second))
            self._until = second + 1

    def _up_to_now(self) -> float:
        """Count all that was added, close the seconds that have passed, and give the time."""
        if self.collect is not None:
            self.collect()
        return self._count()

    def _count(self) -> float:
        with self._lock:
            now, batch, begin = self._monotonic(), self._pending[:], 0
            del self._pending[: len(batch)]
            for end, second in (*self._marks, (len(batch), floor(now))):
                if end > begin:
                    self._within.take(batch[begin:end])
                    begin = end
                if second >= self._within.end:
                    self._roll(second)
            self._marks.clear()
            self._until = self._within.end
            return now

    def _roll(self, second: int) -> None:
        """Close the current second and open a later one; called with the lock held."""
        done, largest = self._within, self.windows[-1]
        if done.count:
            self._before = (self._before[0] + done.count, self._before[1] + done.total)
            self._octaves.update(octaves_of(done.pairs()))
            done.pack()
            self._seconds.append(done)
            minutes = self._minutes
            if not minutes or done.start >= minutes[-1].end:
                minutes.append(Span(done.start // _MINUTE * _MINUTE, _MINUTE, self._with_bins))
            minutes[-1].merge(done)
        self._within = Span(second, 1, self._with_bins)
        oldest = self._within.end - largest
        for spans in (self._seconds, self._minutes):
            while spans and spans[0].start < oldest:
                spans.popleft()

    def _window(self, window: int) -> tuple[Span, float]:
        """What lies in ``window``, and the seconds that it covers."""
        now = self._up_to_now()
        with self._lock:
            current = self._within.copy()
            # Not the last minute, which changes on. Its seconds are counted one by one.
            seconds, minutes = list(self._seconds), list(self._minutes)[:-1]
        oldest = current.end - window
        merged = Span(oldest, window, self._with_bins)
        whole = [minute for minute in minutes if minute.start >= oldest]
        covered = {minute.start for minute in whole}
        for span in whole:
            merged.merge(span)
        for span in seconds:
            if span.start >= oldest and span.start // _MINUTE * _MINUTE not in covered:
                merged.merge(span)
        merged.merge(current)
        return merged, max(1.0, now - max(oldest, self._born))

    def read(self, kind: SampleType, window: int) -> float | None:
        """What ``kind`` says of the last ``window`` seconds; None: nothing was added in them that
        it could report."""
        return self._tell(kind, *self._window(window))

    @staticmethod
    def _tell(kind: SampleType, span: Span, seconds: float) -> float | None:
        if not span.count:
            return 0.0 if kind in _ALWAYS else None
        if kind in _TOLD:
            return _TOLD[kind](span, seconds)
        found = percentile(dict(span.pairs()), _PERMILLE[kind])
        return min(max(found, span.low), span.high)

    def getCounters(self) -> dict[str, LiveNumber]:  # noqa: N802 - the established name
        """What there is to report now by ``NAME.TYPE.WINDOW``."""
        return {name: live(value, fn) for name, fn in self.values() if (value := fn()) is not None}

    def getCounter(self, name: str, *default: float | None) -> float | None:  # noqa: N802 - as above
        """The value of ``NAME.TYPE.WINDOW``, None if there is none now.

        Raises:
            KeyError: no pair has that name, and no default was given; the message names them.
        """
        known = dict(self.values())
        if name not in known:
            if default:
                return default[0]
            raise KeyError(f"No counter is named {name!r}. There are: {', '.join(known)}.")
        return known[name]()

    def __call__(self) -> float | None:
        """The first type over the smallest window."""
        return self.read(self.types[0], self.windows[0])

    def values(self) -> Iterator[tuple[str, Callable[[], float | None]]]:
        """The flat name of each pair of a type and a window, with the function that reads it."""
        prefix = f"{self.name}." if self.name else ""
        for kind in self.types:
            for window in self.windows:
                yield f"{prefix}{kind.value}.{window}", partial(self.read, kind, window)

    def readings(self) -> Iterator[Reading]:
        """Each pair, with ``type`` and ``window`` as labels; each window is merged once.

        Then what describes all that was ever added, without a window: a histogram, where
        percentiles were asked for, and count and sum.
        """
        for window in self.windows:
            span, seconds = self._window(window)
            for kind in self.types:
                labels = {"type": kind.value, "window": str(window)}
                if (value := self._tell(kind, span, seconds)) is None:
                    continue
                yield Reading(self.name, self.kind, self.help, self.unit, labels, value)
        shape = "histogram" if self._with_bins else self.kind
        (count, total), buckets = self._ever()
        told = [({"type": "bucket", "le": f"{bound:.17g}"}, found) for bound, found in buckets]
        for labels, value in (*told, ({"type": "count"}, count), ({"type": "sum"}, total)):
            yield Reading(self.name, shape, self.help, self.unit, labels, value)

    def totals(self) -> tuple[int, float]:
        """Count and sum of everything that was ever added."""
        return self._ever()[0]

    def buckets(self) -> list[tuple[float, int]]:
        """A histogram of everything that was ever added: bounds, and how many are not above each.

        The bounds are powers of two, 0.0 (for all below 2.3e-308) and inf. Empty unless percentiles
        were asked for.
        """
        return self._ever()[1]

    def _ever(self) -> tuple[tuple[int, float], list[tuple[float, int]]]:
        self._up_to_now()
        with self._lock:
            totals = self._before[0] + self._within.count, self._before[1] + self._within.total
            octaves = self._octaves + octaves_of(self._within.pairs())
        return totals, list(buckets_of(octaves)) if self._with_bins else []


samples = Samples
