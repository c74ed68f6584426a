"""Finds what is spelt otherwise than it was meant: attributes, variables, names of plugins."""

from __future__ import annotations

import os
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from sparts import entry_points
from sparts.options import Option, state_of
from sparts.options.binding import env_prefix
from sparts.plugins import BUILT_IN
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sparts.vservice import VService

_Names = list[tuple[type, str]]
_SHORTEST = 3  # shorter names are near to anything
OF_ALL = {
    *("SPARTS_DISABLE_PLUGINS", "SPARTS_LOAD_PLUGINS", "SPARTS_RUNTIME_DIR"),
    *("SPARTS_STATUS_TOKEN", "SPARTS_STATUS_CA", "SPARTS_COPY", "SPARTS_RELOADED_BY"),
}
"""The variables that sparts reads beside those of options."""


def gone(cls: type, name: str, advice: str) -> str | None:
    """Return what is wrong with a method that sparts 0.7 called; None: the class calls it."""
    if reads(cls, name, but=name):
        return None
    return f"is not called any more, as it was by sparts 0.7. {advice}"


def check(
    cls: type, owner: type, name: str, value: Any, known: _Names, others: _Names
) -> tuple[str | None, bool]:
    """Return what is wrong with a name that no base has, and whether that is an error.

    Args:
        cls: the task or service.
        owner: the class of its classes that has the name.
        name: the attribute.
        value: what it is.
        known: the bases of ``owner`` with each name that they document.
        others: the same of tasks for which a service may set class attributes.
    """
    shape = _shape(value)
    meant = _same_but_for_case(owner, name, value, shape, known) if shape else None
    if meant is not None:
        verb = "called" if shape == "method" else "read"
        rest = f"Rename it, or allow it: SPARTS_ALLOW_NAMES = ({name!r},)."
        return f"is never {verb} by sparts, which has {meant}. {rest}", True
    is_method = shape == "method" and len(name) >= 2 * _SHORTEST
    if is_method or (shape == "data" and name.isupper() and len(name) >= _SHORTEST):
        near = (each for base, each in known + others if _is_near(name, each, base, shape))
        meant = min(near, default="")
        if meant and meant not in vars(owner) and not reads(cls, name):
            verb = "called" if is_method else "used"
            return f"is not {verb} by sparts. Did you mean {meant}?", False
    return None, True


def _same_but_for_case(owner: type, name: str, value: Any, shape: str, known: _Names) -> str | None:
    """Return the name of a base that differs from ``name`` in case and underscores alone."""
    folded = _folded(name)
    for base, meant in known:
        private = name.startswith("_") and not meant.startswith("_")
        if private or _folded(meant) != folded:
            continue
        if _shape_in(base, meant) != shape or meant in vars(owner):
            continue
        wraps = shape == "method" and meant in _read_by(value)
        if wraps or (shape == "data" and meant != "TASKS" and reads(owner, name)):
            continue  # it has a use of its own
        return meant
    return None


def _is_near(name: str, known: str, base: type, shape: str) -> bool:
    """Return whether a name is one edit away from an attribute or method that a base documents."""
    if shape == "method" and (known[0] != name[0] or name == f"{known}s"):
        return False  # your own, such as `getTasks`
    right = shape == "method" or known.isupper()
    return right and is_one_edit(name, known) and _shape_in(base, known) == shape


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


def is_one_edit(one: str, other: str) -> bool:
    """Return whether one letter is missing, added or wrong, or two neighbours are swapped."""
    if abs(len(one) - len(other)) > 1:
        return False
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    if len(one) == len(other) == 2:
        return one == other[::-1]
    return max(len(one), len(other)) == 1


def misspelt(names: Iterable[str], service: VService) -> Iterator[str]:
    """Say of these variables, and of plugins to be kept out, which nothing reads or nobody has.

    Each with what to do: another name, or a plugin to install.
    """
    state = state_of(ours(service).options)
    bindings = state.bindings.values() if state else ()
    read = OF_ALL | {each.env for each in bindings}
    read |= {f"{each.env}_FILE" for each in bindings if each.option.secret}
    prefix = env_prefix(type(service))
    unread = "The variable {} is set, but sparts does not read it. {}"
    for name in sorted({*names} - read - {*getattr(service, "SPARTS_ALLOW_NAMES", ())}):
        near = [each for each in read if name.upper() == each or is_one_edit(name, each)]
        if near:
            yield unread.format(name, f"Did you mean {min(near)}?")
            continue
        for flag, known in entry_points.known_providers(entry_points.OPTIONS).items():
            if name == f"{prefix}{flag[2:].replace('-', '_').upper()}":
                yield unread.format(name, entry_points.install_hint(known))
    all_blocked = os.environ.get("SPARTS_LOAD_PLUGINS") == ""  # then nothing is scanned
    entries = [] if all_blocked else entry_points.installed()
    theirs = ((each.name, each.distribution) for each in entries)
    folded = {entry_points.normalized(name): name for name in sum(theirs, BUILT_IN)}
    for name in sorted({*map(entry_points.normalized, entry_points.kept_out_names())} - {*folded}):
        if near := [each for each in folded if is_one_edit(name, each)]:
            yield f"No plugin {name!r} is there to be kept out. Did you mean {folded[min(near)]!r}?"
