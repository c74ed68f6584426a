"""Names that no method of a handler can have: what a service has of them is written under others.

A handler is a task, and most names of a task mean something to sparts before it has said anything
about its service. So a function that a class has under such a name is set aside as soon as the
class is made: the task works, and its start can say what to do.
"""

from __future__ import annotations

import inspect
import keyword
from functools import cache
from typing import TYPE_CHECKING, Any

from sparts.errors import StartError
from sparts.established import EstablishedTask
from sparts.thrift.binding import explain_reserved

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHARED = {
    "getChild", "getChildren", *(name for name in vars(EstablishedTask) if name[0] != "_"),
}  # fmt: skip
"""Names of sparts 0.7's tasks that a service may have as well, such as fb303's."""
_LATE = {
    "SPARTS_ALLOW_NAMES", "_asking", "_base_work_done", "_instance", "_service", "_supervisor",
    "bound_addrs", "close_for_copies", "failed", "methods_served", "n_failures", "n_restarts",
    "open_for_copies", "option_prefix", "status_panels", "thrift_service",
}  # fmt: skip
"""What instances alone have, and what sparts looks for in tasks that may have it."""


def is_reserved(cls: type[Any], name: str) -> bool:
    """Return whether a method of a service cannot have its name in a handler of a class."""
    return name[:2] == "__" or keyword.iskeyword(name) or name in _taken(_ours(cls))


@cache
def _taken(ours: Any) -> frozenset[str]:
    return frozenset({*dir(ours), *_LATE} - _SHARED - ours._ANSWERS)


def _ours(cls: type[Any]) -> Any:
    """Return the class of ours that a handler derives from."""
    return next(base for base in cls.__mro__ if str(base.__module__).startswith("sparts."))


def past_methods(cls: type[Any], name: str) -> Any:
    """Return an attribute of a class, passing over functions that a user's class has there."""
    ours = _ours(cls).__mro__
    found = _holders(cls, name)
    return next((each for base, each in found if base in ours or not inspect.isroutine(each)), None)


def _holders(cls: type[Any], name: str) -> list[tuple[type[Any], Any]]:
    """Return what a class and its bases have under a name, as it stands there."""
    return [(base, vars(base)[name]) for base in cls.__mro__ if name in vars(base)]


def set_aside(cls: type[Any], service: str, names: Iterable[str]) -> None:
    """Take from a class the methods of its service whose names are reserved, and allow the others.

    Functions that override the task's own stay, if the class says by `implementation` which
    methods the service has under these names.

    Args:
        cls: has just been made.
        service: the name of the service.
        names: those of its methods.

    Raises:
        StartError: Python itself gives a name its meaning, so that nothing can be set aside.
    """
    says = _says_implementation(cls)
    for name in filter(lambda name: is_reserved(cls, name), names):
        holders, own = _holders(cls, name), past_methods(cls, name)
        if not holders or holders[0][1] is own or not inspect.isroutine(holders[0][1]):
            continue
        if says and (name[:2] == "__" or inspect.isroutine(own)):
            continue
        if name[:2] == "__":
            raise StartError(
                f"{cls.__name__} does not implement the service {service}: "
                f"{explain_reserved(name, f'{name}(...)')}."
            )
        if name in vars(cls):
            delattr(cls, name)
        if any(each is not own for _, each in _holders(cls, name)[:1]):  # a mixin has it, too
            setattr(cls, name, own)
    answered = _ours(cls)._ANSWERS
    free = [name for name in names if not is_reserved(cls, name) and name not in answered]
    if free:  # these names are the service's, and no misspelt ones of ours
        given: Any = vars(cls).get("SPARTS_ALLOW_NAMES", ())
        own = [given] if isinstance(given, str) else given
        cls.SPARTS_ALLOW_NAMES = (*own, *free)


def _says_implementation(cls: Any) -> bool:
    """Return whether a class has an `implementation` of its own, and no method of that name."""
    if cls.implementation is _ours(cls).implementation:
        return False
    try:
        inspect.signature(cls.implementation).bind(cls, "name")
    except TypeError:
        return False
    return True
