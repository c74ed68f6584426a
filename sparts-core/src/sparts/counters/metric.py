"""What every counter is: a declaration on a class, and one value an instance of it.

A metric written in a class body is only a declaration. The first access through an instance makes
that instance's own copy and leaves it in the instance's ``__dict__``, so that the next access costs
what any attribute costs. A metric made outside of a class body counts by itself.

`Labelled` is one metric for each combination of label values.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeAlias, TypeVar, cast

from sparts.startup import NamedTuple

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

    Two threads that come first at once get the same one: `dict.setdefault` settles it. If a
    subclass uses the name for something else (``self.n_completed = 0``), it is kept beside that.
    """
    metric: Any = declared
    attribute: str = metric.name
    if getattr(type(obj), attribute, None) is not declared:  # it has another name than it shows
        every = (pair for base in type(obj).__mro__ for pair in vars(base).items())
        attribute = next((name for name, value in every if value is declared), attribute)
    mine: dict[str, Any] | None = getattr(obj, "__dict__", None)
    if mine is None:
        raise TypeError(
            f"{type(obj).__name__}.{attribute} counts per instance, and an instance of "
            f"{type(obj).__name__} has no __dict__ to keep it in; leave out __slots__."
        )
    held = mine.get(attribute, getattr(type(obj), attribute))
    if not hasattr(type(held), "readings"):
        attribute = f"counter {attribute}"
    elif held is not declared:  # made before, or that of a subclass
        return cast("V", held if attribute in mine else held.__get__(obj))
    return cast("V", mine.get(attribute) or mine.setdefault(attribute, metric.fresh(obj)))


def label_text(labels: Iterable[tuple[str, str]]) -> str:
    """Labels as they stand in a flat name: ``{method="GET",status="200"}``."""
    quoted = (
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\""))
        for key, value in labels
    )
    return "{" + ",".join(quoted) + "}"


# -- labels ----------------------------------------------------------------------------------------

M = TypeVar("M", bound=Metric)

OTHER = "other"

_log = logging.getLogger("sparts.counters")


class Labelled(Generic[M]):
    """A family of metrics of one declaration, distinguished by labels.

    Memory stays bounded: past ``limit`` combinations, what is new counts under the value
    ``"other"`` for every label, and a warning says so once.
    """

    def __init__(self, metric: M, names: tuple[str, ...], limit: int = 1000) -> None:
        """Make a family; `labelled` is the usual way."""
        self.metric = metric
        self.names = names
        self.limit = limit
        self._owner: object = None
        self._children: dict[tuple[str, ...], M] = {}

    @property
    def name(self) -> str:
        """The name of the family."""
        return self.metric.name

    @name.setter
    def name(self, name: str) -> None:
        self.metric.name = name

    def labels(self, *values: object, **named: object) -> M:
        """The metric of these label values, in declared order or by name.

        Raises TypeError when they are not exactly the labels that were declared.
        """
        key = tuple(map(str, values)) if not named else self._key(values, named)
        child = self._children.get(key)
        return child if child is not None else self._add(key)

    def _key(self, values: tuple[object, ...], named: dict[str, object]) -> tuple[str, ...]:
        if values or named.keys() != set(self.names):
            raise TypeError(self._complaint([*map(str, values), *named]))
        return tuple(str(named[name]) for name in self.names)

    def _complaint(self, given: list[str]) -> str:
        return (
            f"The counter {self.name!r} has the labels {', '.join(self.names)}, and was given "
            f"{', '.join(given) or 'none'}; give each of them once, all by position or all by name."
        )

    def _add(self, key: tuple[str, ...]) -> M:
        if len(key) != len(self.names):
            raise TypeError(self._complaint(list(key)))
        if len(self._children) >= self.limit:
            key = (OTHER,) * len(self.names)
            if key not in self._children:
                text = "Counter %r has more combinations of labels than %d; the rest counts as %r."
                _log.warning(text, self.name, self.limit, OTHER)
        return self._children.setdefault(key, self.metric.fresh(self._owner))

    def values(self) -> Iterator[tuple[str, Callable[[], float | None]]]:
        """The flat names of the family's numbers, each with the function that reads it."""
        for key, child in list(self._children.items()):
            text = label_text(zip(self.names, key, strict=True))
            for name, fn in child.values():
                yield self.name + text + name.removeprefix(child.name), fn

    def readings(self) -> Iterator[Reading]:
        """Every number of the family, with its labels."""
        for key, child in list(self._children.items()):
            mine = dict(zip(self.names, key, strict=True))
            for reading in child.readings():
                yield reading._replace(labels=mine | reading.labels)

    def reset(self) -> None:
        """Start every combination again from nothing; those who hold one keep counting in it."""
        for child in list(self._children.values()):
            child.reset()

    def fresh(self, owner: object = None) -> Self:
        """A new family of the same declaration, without combinations."""
        new = type(self)(self.metric.fresh(owner), self.names, self.limit)
        new._owner = owner
        return new

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name, unless another was given."""
        self.metric.__set_name__(owner, name)

    def __get__(self, obj: object | None, owner: type | None = None) -> Self:
        """Give the instance's own family; on the class, the declaration."""
        return self if obj is None else own(obj, self)


def labelled(metric: M, *names: str, limit: int = 1000) -> Labelled[M]:
    """Declare ``metric`` once for each combination of the labels ``names``.

    ``requests = labelled(counter(help="requests"), "method", "status")``, counted by
    ``task.requests.labels("GET", 200).increment()``. ``limit`` bounds the combinations kept.
    """
    if not names:
        raise TypeError("labelled() needs the names of the labels after the counter.")
    return Labelled(metric, names, limit)
