"""Names that others choose for what clients call, on a task that has names of its own.

The methods of an interface file, of RPC or on D-Bus are attributes of a task. Most names of a task
mean something to sparts before it has said anything about what it serves. So what a class has under
such a name for its clients is set aside as soon as the class is made: the task works, and its start
can say what to do. All other names are its own, however much they look like one of sparts.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

_LATE = {
    "SPARTS_ALLOW_NAMES", "_base_work_done", "_instance", "_supervisor", "bound_addrs",
    "close_for_copies", "failed", "n_failures", "n_restarts", "open_for_copies", "option_prefix",
    "status_panels",
}  # fmt: skip
"""What instances alone have, and what sparts looks for in tasks that may have it."""


def ours_of(cls: type[Any]) -> Any:
    """Return the class of sparts from which a class derives first."""
    return next(base for base in cls.__mro__ if str(base.__module__).startswith("sparts."))


def is_taken(cls: type[Any], name: str) -> bool:
    """Return whether a name means something to sparts in a class, or to Python."""
    return name[:2] == "__" or name in _taken(ours_of(cls))


@cache
def _taken(ours: type[Any]) -> frozenset[str]:
    annotated = (vars(base).get("__annotations__", ()) for base in ours.__mro__)
    return frozenset(_LATE.union(dir(ours), *annotated))


def past_called(
    cls: type[Any], name: str, called: Callable[[Any], bool] = inspect.isroutine
) -> Any:
    """Return an attribute of a class, passing over what others have put there for clients.

    Args:
        cls: the class.
        name: that of the attribute.
        called: whether a value in a class of others is for clients; any function, by default.
    """
    ours = ours_of(cls).__mro__
    held = _held(cls, name)
    return next((value for base, value in held if base in ours or not called(value)), None)


def _held(cls: type[Any], name: str) -> list[tuple[type[Any], Any]]:
    """Return what a class and its bases have under a name, as it stands there."""
    return [(base, vars(base)[name]) for base in cls.__mro__ if name in vars(base)]


def claim(
    cls: type[Any],
    names: Iterable[str],
    explain: Callable[[str], str],
    called: Callable[[Any], bool] = inspect.isroutine,
    *,
    free: Collection[str] = (),
    keep: Callable[[str, Any], bool] = lambda name, own: False,
) -> tuple[str, ...]:
    """Give what a class has for clients its names, as far as they are not taken.

    Call it in ``__init_subclass__``, before that of the base.

    Args:
        cls: has just been made.
        names: those of what clients call.
        explain: returns what to do about a name that is taken, as the message of an error.
        called: see `past_called`.
        free: names that are not taken, although the class of sparts has them.
        keep: called with a name and what sparts has under it; true: what is there is no method for
            clients.

    Returns:
        the names of what was set aside: the start has to be refused.

    Raises:
        UsageError: Python itself gives a name its meaning, so that nothing can be set aside.
    """
    names, refused = list(names), []
    for name in names:
        held = _held(cls, name)
        if name in free or not is_taken(cls, name) or not held or not called(held[0][1]):
            continue
        own = past_called(cls, name, called)
        if held[0][1] is own or keep(name, own):
            continue
        refused.append(name)
        if name[:2] == "__":
            raise UsageError(explain(name))
        if name in vars(cls):
            delattr(cls, name)
        if any(value is not own for _, value in _held(cls, name)[:1]):  # a mixin has it, too
            setattr(cls, name, own)
    mine = [name for name in names if name in free or not is_taken(cls, name)]
    if mine:  # none of them is misspelt
        given: Any = vars(cls).get("SPARTS_ALLOW_NAMES", ())
        cls.SPARTS_ALLOW_NAMES = (*([given] if isinstance(given, str) else given), *mine)
    return tuple(refused)
