"""Public names that subclasses may overwrite: sparts itself reads them past whatever they hold.

A service or task may assign what it likes (``self.state = "idle"``). Assigning never raises, and
its own code reads back what it has assigned. The kernel, the built-in plugins and the libraries
read through `ours`, which passes over such a value.
"""

from __future__ import annotations

import functools
import sys
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.protocols import Service

T = TypeVar("T")

OURS = ("sparts.vservice", "sparts.vtask", "sparts.established")
"""The modules whose classes define the public names."""
_OF_PARSERS = ("_makeArgumentParser", "_buildArgumentParser", "_addArguments")
_GONE = object()  # a name that was put into a class, and deleted again


class _Shown:
    """A read-only attribute that an assignment to the instance hides, where a property raises."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, owner: Any, cls: type | None = None) -> Any:
        return self if owner is None else self._read(owner)


if TYPE_CHECKING:
    shown = property
else:
    shown = _Shown


def of_ours(owner: Any, name: str) -> Any:
    """Return a public attribute of a service or task, past what a subclass has overwritten.

    What counts of a subclass: a method where ours is one; plain data where ours is plain data; and
    of what ``_settable`` of its class lists by name, properties, and values of the types there.
    """
    cls: Any = type(owner)
    kinds = getattr(cls, "_settable", {}).get(name, ())
    if isinstance(value := vars(owner).get(name), kinds):
        return value
    if name not in vars(owner) and _is_ours(cls, name):
        return getattr(owner, name)
    holders = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    if not holders:
        return getattr(owner, name)  # no name of ours
    if _active(holders[-1]) and not isinstance(holders[0], kinds):
        holders = [each for each in holders if _counts(cls, name, each, holders[-1])]
    if kept := getattr(holders[0], "kept", None):  # of an option, which takes assignments itself
        return kept(owner)
    get = getattr(type(holders[0]), "__get__", None)
    return holders[0] if get is None else get(holders[0], owner, cls)


def _is_ours(cls: Any, name: str) -> bool:
    """Return whether a class has a name of ours as we wrote it; quick, as nearly all are."""
    for base in _our_bases(cls):
        if name in vars(base):
            return getattr(cls, name, _GONE) is vars(base)[name]
    return False


@functools.cache
def _our_bases(cls: Any) -> list[Any]:
    return [base for base in cls.__mro__ if base.__module__ in OURS]


def _active(attribute: object) -> bool:
    """Return whether a class attribute is a method, a property or the like, and no plain data."""
    return hasattr(type(attribute), "__get__")


def _counts(cls: Any, name: str, attribute: object, ours: object) -> bool:
    """Return whether an attribute of a class takes the place of ours: no method that of data."""
    data = isinstance(ours, _Shown) and not isinstance(attribute, _Shown)
    settable = name in getattr(cls, "_settable", ()) and not callable(attribute)
    return _active(attribute) and (settable or not data)


class _Ours:
    __slots__ = ("_owner",)

    def __init__(self, owner: object) -> None:
        object.__setattr__(self, "_owner", owner)

    def __getattr__(self, name: str) -> Any:
        return of_ours(self._owner, name)


def ours(owner: T) -> T:
    """Return a view of a service or task that reads its public names as `of_ours` does."""
    return cast("T", _Ours(owner))


def service_of(task: Any) -> Service:
    """Return the service of a task, past what their classes have overwritten."""
    return cast("Service", ours(ours(task).service))


def overwritten(owner: Any) -> Iterator[str]:
    """Give the public names of a service or task that a subclass uses for something else."""
    values, cls = vars(owner), cast("Any", type(owner))
    theirs = {name for base in cls.__mro__ if base.__module__ not in OURS for name in vars(base)}
    for name in sorted((theirs | values.keys()) & set(public_names(cls))):
        found = [vars(base)[name] for base in cls.__mro__ if name in vars(base)] or [_GONE]
        read = found[0] if isinstance(found[0], property) else values.get(name, found[0])
        if read is _GONE or (read is found[0] and _counts(cls, name, read, found[-1])):
            continue
        mine: Any = None
        with suppress(Exception):  # what is not there now, such as the listeners
            mine = of_ours(owner, name)
        if read is not mine:
            yield name


def warn_of_overwritten(owner: Any, warned: set[tuple[int, str]]) -> None:
    """Log which public names of ours an owner overwrites, but for those that are in ``warned``."""
    for name in overwritten(owner):
        if (id(owner), name) not in warned:
            warned.add((id(owner), name))  # it may have __eq__, and so no hash
            hint = ", or call set_ready() to report readiness" * (name == "ready")
            text = "%s sets %r, a name of sparts, which ignores the value: rename it%s"
            ours(owner).logger.warning(text, type(owner).__name__, name, hint)


def brings_parser(cls: type) -> bool:
    """Return whether a class makes the parser of its command line itself, or adds to it."""
    theirs = [vars(base) for base in cls.__mro__ if base.__module__ not in OURS]
    return any(name in names for names in theirs for name in _OF_PARSERS)


@functools.cache
def public_names(cls: Any) -> list[str]:
    """Return the public names that a service or task class has from sparts."""
    names = {name for base in _our_bases(cls) for name in vars(base)}
    return sorted(name for name in names if not name.startswith("_"))


# -- names that have changed -----------------------------------------------------------------------


_old_names: set[str] = set()


def renamed(new: str) -> Any:
    """Return what stands under the old name of a task's class attribute; its name is now ``new``.

    Other classes with such attributes call `take_renamed` in their ``__init_subclass__``.
    """
    return _Renamed(new)


class _Renamed:
    def __init__(self, new: str) -> None:
        self.new = new
        self._old = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name
        _old_names.add(name)

    def __get__(self, obj: object, owner: type) -> Any:
        self.warn(owner)
        return getattr(owner if obj is None else obj, self.new)

    def __set__(self, obj: object, value: object) -> None:
        self.warn(type(obj))
        setattr(obj, self.new, value)

    def warn(self, cls: type) -> None:
        """Warn anybody who uses the old name, at the nearest line that is not ours."""
        frame: Any = sys._getframe()
        while frame.f_back and frame.f_globals.get("__name__", "").startswith("sparts."):
            frame = frame.f_back
        text = f"{cls.__name__}.{self._old} is deprecated: use {self.new}."
        module = frame.f_globals.get("__name__")
        place = (frame.f_code.co_filename, frame.f_lineno, module)
        warnings.warn_explicit(text, DeprecationWarning, *place)


def take_renamed(cls: type) -> None:
    """Give what a new class sets under old names their new ones."""
    for name in _old_names & vars(cls).keys():
        bases = (vars(base)[name] for base in cls.__mro__[1:] if name in vars(base))
        if isinstance(old := next(bases, None), _Renamed):
            setattr(cls, old.new, vars(cls)[name])
            delattr(cls, name)
            old.warn(cls)
