"""Names that have changed.

The old name of a class attribute is read and set as before, with a warning. What a service or task
had one release ago is found where it is now.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def moved(owner: object, name: str, places: Mapping[str, str]) -> Any:
    """Return an attribute by where it is now found from ``owner``, for its ``__getattr__``.

    Raises:
        AttributeError: there is no such attribute.
    """
    path = places.get(name)
    if path is None:
        problem = f"{type(owner).__name__!r} object has no attribute {name!r}"
        raise AttributeError(problem, name=name, obj=owner)
    found: Any = owner
    for part in path.split("."):
        found = getattr(found, part)
    return found


_HEALTH = (
    "status status_since status_details ready readiness healthy liveness failing_checks ended "
    "check_results known_checks wait_ready wait_stopping restarting stop_deadline call_later error"
)
_TIMES = ("start_timeout", "stop_timeout", "drain_time")
OF_SERVICES = {
    **{name: f"_instance.health.{name}" for name in _HEALTH.split()},
    **{name: f"_instance.settings.{name}" for name in _TIMES},
    **{name: f"_instance.stats.{name}" for name in ("describe", "describe_counters")},
    "keep_warning": "_instance.health.warn",
    "plugin_data": "_instance.hooks.kept",
    **{name: f"_instance.{name}" for name in ("inbox", "close_logging")},
}
"""Where names of a service are now found; these go with the next release."""

OF_TASKS = {
    "failed": "_supervisor.failed", "stop_deadline": "_supervisor.stop_deadline",
    "options": "_instance.options", "n_failures": "_n_failures", "n_restarts": "_n_restarts",
}  # fmt: skip
"""The same of a task."""
