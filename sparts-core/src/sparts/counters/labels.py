"""One metric for each combination of label values: ``requests.labels(method="GET")``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Generic, Self, TypeVar

from sparts.counters.metric import Metric, Reading, label_text, own

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
