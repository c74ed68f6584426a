"""Finds attributes that were meant to override something, and are spelt otherwise."""

from __future__ import annotations

from itertools import chain
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparts.builtin.overrides.signatures import PRIVATE
from sparts.options import Option

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHORTEST = 3  # shorter names are near to anything
_GONE = {  # methods of sparts 0.7: where they were, and what to write instead
    "_createTasks": ("sparts.vservice", "Override `initService`."),
    "_startTasks": ("sparts.vservice", "Override `start` of a task."),
    "_handleShutdownSignals": ("sparts.vservice", "Override `shutdown`."),
    "_loptName": ("sparts.", "Give `option` a name."),
    "_optName": ("sparts.vtask", "Set OPT_PREFIX."),
    "_handle_try_later": ("sparts.tasks.periodic", "Catch TryLater in `execute`."),
    "_makeBus": ("sparts.tasks.dbus", "Set USE_SYSTEM_BUS, or give the bus's address."),
    "_findProcessors": ("sparts.tasks.thrift", "Set MODULE."),
    "_checkTaskModule": ("sparts.tasks.thrift", "Set MODULE."),
}


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
    if not shape:
        return None, True
    where, advice = _GONE.get(name, ("", ""))
    there = advice and any(base.__module__.startswith(where) for base in bases)
    if there and not reads(cls, name, but=name):
        return f"is not called any more, as it was by sparts 0.7. {advice}", True
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
        for known in _names_of(base).get(folded, ()):
            private = name.startswith("_") and not known.startswith("_")
            if private or _shape_in(base, known) != shape or known in vars(owner):
                continue
            wraps = shape == "method" and known in _read_by(value)
            if wraps or (shape == "data" and known != "TASKS" and reads(owner, name)):
                continue  # it has a use of its own
            return known
    return None


def _documented(*classes: Iterable[type]) -> set[str]:
    """Return the names of the upper-case class attributes of bases."""
    every = [(base, name) for base in chain(*classes) for name in chain(*_names_of(base).values())]
    return {name for base, name in every if name.isupper() and _shape_in(base, name) == "data"}


def reads(cls: type, name: str, but: str = "") -> bool:
    """Return whether the code of a class (``but`` that of one name) uses an attribute of a name."""
    own = [pair for base in cls.__mro__ for pair in _own(base).items()]
    return any(name in _read_by(value) for each, value in own if each != but)


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


_known: WeakKeyDictionary[type, dict[str, list[str]]] = WeakKeyDictionary()


def _names_of(cls: type) -> dict[str, list[str]]:
    """Return the names that a class documents to be overridden, by the folded name."""
    found = _known.get(cls)
    if found is None:
        found = _known[cls] = {}
        for name in (
            {**vars(cls), **vars(cls).get("__annotations__", {})} if cls is not object else ()
        ):
            if not name.startswith("_") or name in PRIVATE:
                found.setdefault(_folded(name), []).append(name)
    return found


def _shape_in(base: type, name: str) -> str:
    """Tell what a name of a base stands for; an option stands for data."""
    if name not in vars(base):
        return "data" if name.isupper() else ""  # it has an annotation alone
    value = vars(base)[name]
    return "data" if isinstance(value, Option) else _shape(value)


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
