"""Mappings of sparts 0.7 that are read again at each look, for code that keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, TypeVar

from sparts.counters import CallbackCounter, Metric, counters_of

K = TypeVar("K")
V = TypeVar("V")


class View(Mapping[K, V]):
    """A mapping that is read again at each look into it.

    Args:
        read: returns what it shows now.
    """

    def __init__(self, read: Callable[[], Mapping[K, V]]) -> None:
        self._read = read

    def __getitem__(self, key: K) -> V:
        return self._read()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def __repr__(self) -> str:
        return repr(dict(self._read()))


class ExportedValues(View[str, str], MutableMapping[str, str]):
    """The exported values of a service; what is set here is exported."""

    def __init__(self, service: Any) -> None:
        super().__init__(service._instance.stats.exported_values)
        self._set = service._instance.stats.export

    def __setitem__(self, name: str, value: str) -> None:
        self._set(name, value)

    def __delitem__(self, name: str) -> None:
        self._read()[name]
        self._set(name, None)


class Counters(View[str, Any], MutableMapping[str, Any]):
    """The counters that a service or task has itself; a function that is set here becomes one."""

    def __init__(self, owner: object) -> None:
        super().__init__(lambda: counters_of(owner))
        self._owner = owner

    def __setitem__(self, name: str, value: Callable[[], float | None]) -> None:
        metric = value if isinstance(value, Metric) else CallbackCounter(value)
        metric.name = name
        vars(self._owner)[f"counter {name}"] = metric

    def __delitem__(self, name: str) -> None:
        del vars(self._owner)[f"counter {name}"]
