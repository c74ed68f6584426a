"""Class attributes whose names have changed: the old ones are read and set, with a warning."""

from __future__ import annotations

import sys
import warnings
from typing import Any

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
