"""Names that no method of a handler can have: a service's methods of these names get others."""

from __future__ import annotations

import inspect
import keyword
from typing import TYPE_CHECKING, Any

from sparts.established import EstablishedTask
from sparts.net.names import claim, is_taken, ours_of
from sparts.thrift.binding import explain_reserved

if TYPE_CHECKING:
    from collections.abc import Iterable

_SHARED = {
    "getChild", "getChildren", *(name for name in vars(EstablishedTask) if name[0] != "_"),
}  # fmt: skip
"""Names of sparts 0.7's tasks that a service may have as well, such as fb303's."""
_OF_FB303 = {"_asking", "_service"}  # of instances alone


def is_reserved(cls: type[Any], name: str) -> bool:
    """Return whether a method of a service cannot have its name in a handler of a class."""
    if name in _SHARED or name in ours_of(cls)._ANSWERS:
        return False
    return is_taken(cls, name) or name in _OF_FB303 or keyword.iskeyword(name)


def claim_methods(cls: type[Any], service: str, names: Iterable[str]) -> None:
    """Set aside the methods of a new class whose names are reserved; see `sparts.net.names.claim`.

    Functions that override the task's own stay, if the class says by `implementation` which
    methods the service has under these names.

    Args:
        cls: has just been made.
        service: the name of the service.
        names: those of its methods.
    """
    answered = ours_of(cls)._ANSWERS
    says = _says_implementation(cls)

    def explain(name: str) -> str:
        why = explain_reserved(name, f"{name}(...)")
        return f"{cls.__name__} does not implement the service {service}: {why}."

    def keep(name: str, own: Any) -> bool:
        return says and (name[:2] == "__" or inspect.isroutine(own))

    names = [name for name in names if name not in answered]
    claim(cls, names, explain, free=_SHARED, keep=keep)


def _says_implementation(cls: Any) -> bool:
    """Return whether a class has an `implementation` of its own, and no method of that name."""
    if cls.implementation is ours_of(cls).implementation:
        return False
    try:
        inspect.signature(cls.implementation).bind(cls, "name")
    except TypeError:
        return False
    return True
