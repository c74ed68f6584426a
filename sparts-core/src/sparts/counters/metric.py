"""What every counter is: a declaration on a class, and one value an instance of it.

A metric written in a class body is only a declaration. The first access through an instance makes
that instance's own copy and leaves it in the instance's ``__dict__``, so that the next access costs
what any attribute costs. A metric made outside of a class body counts by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeAlias, TypeVar

from sparts.records import NamedTuple

V = TypeVar("V")


class Live:
    """A number as it was read. Calling it, ``int()`` and ``float()`` read the counter again.

    ``service.getCounters()[name]()`` is how sparts 0.7 read a counter.
    """

    _read: Callable[[], float | None]

    def __call__(self) -> float | None:
        """The value now; None: there is none."""
        return self._read()

    def __int__(self) -> int:
        """The value now, without its fraction; TypeError if there is none."""
        return int(known(self._read()))

    def __float__(self) -> float:
        """The value now; TypeError if there is none."""
        return float(known(self._read()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as the plain number."""
        return type(self).__bases__[1], (repr(self),)


class LiveFloat(Live, float):
    """A `Live` float."""


class LiveInt(Live, int):
    """A `Live` int."""


LiveNumber: TypeAlias = LiveFloat | LiveInt
"""A number that was read from a counter."""


def live(value: float, read: Callable[[], float | None]) -> LiveNumber:
    """Return a number that ``read`` gave as a `Live` one."""
    found: LiveNumber = LiveInt(value) if isinstance(value, int) else LiveFloat(value)
    found._read = read
    return found


def known(value: float | None) -> float:
    """Return a counter's value.

    Raises:
        TypeError: it is None: nothing was added yet, or the value is not known now.
    """
    if value is None:
        raise TypeError("This counter has no value: nothing was added to it yet.")
    return value


class Reading(NamedTuple):
    """One number of one metric, as a transport such as Prometheus wants it.

    ``kind`` is ``"counter"`` (only grows), ``"gauge"`` or ``"summary"`` (of a window: ``labels``
    hold ``type`` and ``window``, in seconds; without a window: of everything since the start), or
    ``"histogram"`` (of everything: ``type`` is ``count``, ``sum``, or ``bucket`` with ``le``).
    ``unit`` is a word such as ``"ms"``, or empty.
    """

    name: str
    kind: str
    help: str
    unit: str
    labels: dict[str, str]
    value: float


class Metric:
    """Base of all counters: a name, a help text, a unit, and a lock for changes.

    Args:
        name: its name where it is shown; the attribute's name by default.
        help: one sentence that says what is counted.
        unit: what one is, such as ``"ms"`` or ``"bytes"``.
    """

    __slots__ = ("_lock", "help", "name", "unit")

    kind = "gauge"

    def __init__(self, *, name: str | None = None, help: str = "", unit: str = "") -> None:
        """Declare a metric; see the class."""
        self.name: str = name or ""
        self.help: str = help
        self.unit: str = unit
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Start again from nothing; any thread."""

    def __call__(self) -> float | None:
        """The value now, None if there is none (a mean of nothing); any thread."""
        raise NotImplementedError

    def getvalue(self) -> float | None:
        """The value now; the same as calling the counter."""
        return self()

    def __int__(self) -> int:
        """Give the value now, without its fraction; TypeError if there is none."""
        return int(known(self()))

    def __float__(self) -> float:
        """Give the value now; TypeError if there is none."""
        return float(known(self()))

    def __str__(self) -> str:
        """Show the value now, ``__None__`` if there is none."""
        value = self()
        return "__None__" if value is None else str(value)

    def __repr__(self) -> str:
        """Show the type and the name."""
        return f"<{type(self).__name__} {self.name or '(no name)'}>"

    def values(self) -> Iterator[tuple[str, Callable[[], float | None]]]:
        """The flat names of this metric's numbers, each with the function that reads it."""
        yield self.name, self

    def readings(self) -> Iterator[Reading]:
        """Every number of this metric that there is, with its type, help, unit and labels."""
        if (value := self()) is not None:
            yield Reading(self.name, self.kind, self.help, self.unit, {}, value)

    def fresh(self, owner: object = None) -> Self:
        """A new metric of the same declaration, at its start; ``owner`` is whose it will be."""
        new = object.__new__(type(self))
        new._configure(self, owner)
        return new

    def _configure(self, declared: Self, owner: object) -> None:
        """Take over what ``declared`` says; subclasses with more to say extend this."""
        Metric.__init__(self, name=declared.name, help=declared.help, unit=declared.unit)

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name, unless another was given."""
        self.name = self.name or name

    def __get__(self, obj: object | None, owner: type | None = None) -> Self:
        """Give the instance's own metric; on the class, the declaration."""
        return self if obj is None else own(obj, self)


def own(obj: object, declared: V) -> V:
    """The copy of ``declared`` that belongs to ``obj``, made now if this is the first access.

    Two threads that come first at once get the same one: `dict.setdefault` settles it.
    """
    metric: Any = declared
    attribute: str = metric.name
    if getattr(type(obj), attribute, None) is not declared:  # it has another name than it shows
        every = (pair for base in type(obj).__mro__ for pair in vars(base).items())
        attribute = next((name for name, value in every if value is declared), attribute)
    try:
        mine: dict[str, Any] = obj.__dict__
    except AttributeError:
        raise TypeError(
            f"{type(obj).__name__}.{attribute} counts per instance, and an instance of "
            f"{type(obj).__name__} has no __dict__ to keep it in; leave out __slots__."
        ) from None
    kept: V = mine.setdefault(attribute, metric.fresh(obj))
    return kept


def label_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as they stand in a flat name: ``{method="GET",status="200"}``."""
    quoted = (
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\""))
        for key, value in labels
    )
    return "{" + ",".join(quoted) + "}"
