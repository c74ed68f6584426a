"""Finds attributes that were meant to override something, and are spelt otherwise."""

from __future__ import annotations

from itertools import chain
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparts.builtin.overrides.signatures import PRIVATE
from sparts.options import Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHORTEST = 3  # shorter names are near to anything


def check(
    cls: type, owner: type, name: str, value: Any, bases: list[type], tasks: Iterable[type]
) -> tuple[str | None, bool]:
    """Return what is wrong with a name that no base has, and whether that is an error.

    Args:
        cls: the task or service.
        owner: the class of its classes that has the name.
        name: the attribute.
        value: what it is.
        bases: the classes after ``owner`` that are tasks, services or parts of them.
        tasks: those for which a service may set class attributes.
    """
    shape = _shape(value)
    if name.startswith("__") or not shape:
        return None, True
    meant = _same_but_for_case(owner, name, value, shape, bases)
    if meant is not None:
        verb = "called" if shape == "method" else "read"
        rest = f"Rename it, or allow it: SPARTS_ALLOW_NAMES = ({name!r},)."
        return f"is never {verb} by sparts, which has {meant}. {rest}", True
    if shape == "data" and name.isupper() and len(name) >= _SHORTEST and not reads(cls, name):
        for known in sorted(_documented(bases, *(task.__mro__ for task in tasks))):
            if _is_one_edit(name, known) and known not in vars(owner):
                return f"is not used by sparts. Did you mean {known}?", False
    return None, True


def _same_but_for_case(
    owner: type, name: str, value: Any, shape: str, bases: list[type]
) -> str | None:
    """Return the name of a base that differs from ``name`` in case and underscores alone."""
    folded = _folded(name)
    for base in bases:
        for known, known_shape in _names_of(base).get(folded, ()):
            private = name.startswith("_") and not known.startswith("_")
            if private or known_shape != shape or known in vars(owner):
                continue
            wraps = shape == "method" and known in _read_by(value)
            if wraps or (shape == "data" and known != "TASKS" and reads(owner, name)):
                continue  # it has a use of its own
            return known
    return None


def _documented(*classes: Iterable[type]) -> set[str]:
    """Return the names of the upper-case class attributes of bases."""
    every = [
        pair for each in chain(*classes) for pairs in _names_of(each).values() for pair in pairs
    ]
    return {name for name, shape in every if shape == "data" and name.isupper()}


def reads(cls: type, name: str) -> bool:
    """Return whether the code of a class uses an attribute of a name."""
    return any(name in _read_by(value) for base in cls.__mro__ for value in _own(base).values())


def _own(cls: type) -> dict[str, Any]:
    return {} if cls.__module__.startswith("sparts.") or cls is object else dict(vars(cls))


def _read_by(value: Any) -> set[str]:
    """Return the names of attributes that a function, or what is made of one, uses."""
    parts = [value, *(getattr(value, each, None) for each in ("fget", "func", "__func__"))]
    if isinstance(value, Option):
        parts.append(value.default)
    codes = [part.__code__ for part in parts if isinstance(part, FunctionType)]
    names: set[str] = set()
    for code in codes:  # grows while it is walked
        names.update(code.co_names)
        codes += [each for each in code.co_consts if isinstance(each, CodeType)]
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, FunctionType) and wrapped.__code__ not in codes:
            codes.append(wrapped.__code__)
    return names


_known: WeakKeyDictionary[type, dict[str, list[tuple[str, str]]]] = WeakKeyDictionary()


def _names_of(cls: type) -> dict[str, list[tuple[str, str]]]:
    """Return what a class documents to be overridden: names and shapes, by the folded name."""
    found = _known.get(cls)
    if found is None:
        found = _known[cls] = {}
        for name, shape in _overridable(cls):
            found.setdefault(_folded(name), []).append((name, shape))
    return found


def _overridable(cls: type) -> Iterator[tuple[str, str]]:
    if cls is object:
        return
    for name, value in vars(cls).items():
        if not name.startswith("_") or name in PRIVATE:
            yield name, "data" if isinstance(value, Option) else _shape(value)
    for name in vars(cls).get("__annotations__", {}):
        if name.isupper() and name not in vars(cls):
            yield name, "data"


def _shape(value: Any) -> str:
    """Distinguish methods from data; ``""`` for what is neither, such as options and mocks."""
    if isinstance(value, FunctionType | staticmethod | classmethod):
        return "method"
    return "" if callable(value) or hasattr(type(value), "__get__") else "data"


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


def _is_one_edit(one: str, other: str) -> bool:
    """Return whether one letter is missing, added or wrong, or two neighbours are swapped."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    if len(one) == len(other) == 2:
        return one == other[::-1]
    return max(len(one), len(other)) == 1
