"""Counters: numbers that threads add to and that transports show.

Declared on a class, counted per instance, exact under threads::

    class Mailer(VTask):
        sent = counter(help="mails sent")
        size = samples(types=[SampleType.P99], windows=[60], unit="bytes")

    mailer.sent.increment()
    counters_of(mailer)["sent"]()  # 1

Every method of every counter may be called from any thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from threading import get_ident
from types import MethodType
from typing import TYPE_CHECKING, Any, Self

from sparts.counters.metric import Labelled, LiveNumber, Metric, Reading, labelled, live, own
from sparts.startup import imported_later

if TYPE_CHECKING:
    from sparts.counters.sampling import SampleType, samples
else:  # what not every service uses
    __getattr__ = imported_later(__name__, {"sparts.counters.sampling": ("SampleType", "samples")})

__all__ = [
    "Average", "CallbackCounter", "Count", "Gauge", "Labelled", "Max", "Metric", "Min", "Reading",
    "SampleType", "Sum", "counter", "counters_of", "gauge", "labelled", "metrics_of", "own",
    "read_counters", "samples",
]  # fmt: skip

_log = logging.getLogger("sparts.counters")


class Sum(Metric):
    """The sum of what was added; starts at 0."""

    # Each thread adds to a cell of its own, so that no lock is needed: that halves the time. There
    # are as many cells as there were threads at once: the system gives identities again.
    __slots__ = ("_cells",)

    kind = "counter"
    _cells: dict[int, float]

    def add(self, value: float) -> None:
        """Add ``value``."""
        cells, me = self._cells, get_ident()
        try:
            cells[me] += value
        except KeyError:
            cells[me] = value

    def increment(self) -> None:
        """Add one."""
        cells, me = self._cells, get_ident()
        try:
            cells[me] += 1
        except KeyError:
            cells[me] = 1

    incrementBy = add  # noqa: N815 - the established name

    def reset(self, value: float = 0) -> None:
        """Back to ``value``."""
        self._cells = {get_ident(): value} if value else {}

    def __call__(self) -> float:
        """What was added up to now."""
        return sum(list(self._cells.values()))


counter = Sum


class Count(Sum):
    """How often `add` was called, whatever was added."""

    __slots__ = ()

    def add(self, value: float = 1) -> None:
        """Count one; ``value`` does not matter."""
        self.increment()

    incrementBy = add  # noqa: N815 - the established name


class Gauge(Sum):
    """A value that goes up and down: a depth, a temperature; starts at 0."""

    __slots__ = ()

    kind = "gauge"

    def set(self, value: float) -> None:
        """The value is now ``value``."""
        self._cells = {get_ident(): value}

    def decrement(self) -> None:
        """Subtract one."""
        self.add(-1)


gauge = Gauge


class Average(Metric):
    """The mean of what was added; None before anything was."""

    __slots__ = ("_count", "_total")

    _count: int
    _total: float

    def add(self, value: float) -> None:
        """Take ``value`` into the mean."""
        with self._lock:
            self._total += value
            self._count += 1

    def reset(self) -> None:
        """Forget what was added."""
        with self._lock:
            self._total = 0.0
            self._count = 0

    def __call__(self) -> float | None:
        """The mean, None of nothing."""
        with self._lock:
            return self._total / self._count if self._count else None


class Max(Metric):
    """The largest value that was added; None before anything was."""

    __slots__ = ("_value",)

    _value: float | None
    _best: Callable[[float, float], float] = staticmethod(max)

    def add(self, value: float) -> None:
        """Take ``value`` into account."""
        with self._lock:
            self._value = value if self._value is None else self._best(self._value, value)

    def reset(self) -> None:
        """Forget what was added."""
        with self._lock:
            self._value = None

    def __call__(self) -> float | None:
        """What was found, None of nothing."""
        return self._value


class Min(Max):
    """The smallest value that was added; None before anything was."""

    __slots__ = ()

    _best = staticmethod(min)


class CallbackCounter(Metric):
    """A value that a function knows; it is called whenever the counter is read.

    On a class, ``fn`` is called with the instance (a function without parameters: with nothing), so
    that it also serves as a decorator of a method. Outside of a class it is called with nothing.
    None from ``fn`` means that the value is not known now: the counter is left out of what is read.
    An exception in ``fn`` reaches who calls the counter; `read_counters` leaves the counter out and
    logs the first failure of a row of them.
    """

    __slots__ = ("_failing", "_fn", "_read")

    def __init__(
        self,
        fn: Callable[..., float | None],
        *,
        name: str | None = None,
        help: str = "",
        unit: str = "",
    ) -> None:
        """Declare a counter that ``fn`` knows; see the class."""
        self._fn = fn
        self._read: Callable[[], float | None] = fn
        self._failing = False
        super().__init__(name=name, help=help or (fn.__doc__ or "").partition("\n")[0], unit=unit)

    def _configure(self, declared: Self, owner: object) -> None:
        super()._configure(declared, owner)
        fn = self._fn = declared._fn
        self._failing = False
        self._read = MethodType(fn, owner) if owner is not None and _wants_owner(fn) else fn

    def __call__(self) -> float | None:
        """What the function says now; its exception, if it raises one."""
        value = self._read()
        return value if value is None or type(value) is int else float(value)

    def read(self) -> float | None:
        """What the function says now, None if it raises; the first failure in a row is logged."""
        try:
            value = self()
        except BaseException:  # who asks for all counters gets the others
            if not self._failing:
                self._failing = True
                _log.exception("Counter %r left out: its function raised", self.name)
            return None
        self._failing = False
        return value

    def readings(self) -> Iterator[Reading]:
        """The one number, or nothing while the function raises."""
        value = self.read()
        if value is not None:
            yield Reading(self.name, self.kind, self.help, self.unit, {}, value)


def _wants_owner(fn: Callable[..., float | None]) -> bool:
    code: Any = getattr(fn, "__code__", None)
    alone = code is None or isinstance(fn, MethodType)
    return not alone and (code.co_argcount > 0 or bool(code.co_flags & 0x04))  # CO_VARARGS


def _metrics(obj: object) -> Iterator[Metric | Labelled[Any]]:
    """The object's metrics: those its class declares, in that order, then those set on itself."""
    found: dict[str, Any] = {}
    for each in (*reversed(type(obj).__mro__[:-1]), obj):
        found.update(vars(each))
    for name, value in found.items():
        if hasattr(type(value), "readings"):  # a metric, or a family of them by labels
            value.name = value.name or name
            yield getattr(obj, name, value)


def counters_of(obj: object) -> dict[str, Callable[[], float | None]]:
    """Every counter of ``obj`` by its name, each a function that reads it; any thread.

    Samples give ``NAME.TYPE.WINDOW`` for each pair, labelled counters ``NAME{label="value"}``.
    """
    return {name: fn for metric in _metrics(obj) for name, fn in metric.values()}


def metrics_of(obj: object) -> Iterator[Reading]:
    """Every number of ``obj``'s counters with type, help, unit and labels; any thread."""
    for metric in _metrics(obj):
        yield from metric.readings()


def read_counters(counters: Mapping[str, Callable[[], float | None]]) -> dict[str, LiveNumber]:
    """The values of ``counters``, as `sparts.counters.metric.Live` numbers.

    Those that have none, and those whose function raises (which is logged), are left out.
    """
    found: dict[str, LiveNumber] = {}
    for name, fn in counters.items():
        read = fn.read if isinstance(fn, CallbackCounter) else fn
        value = read()
        if value is not None:
            found[name] = live(value, read)
    return found
