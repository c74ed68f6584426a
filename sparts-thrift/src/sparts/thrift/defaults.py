"""Default values that are lists, maps, sets or structs: each call and each answer gets its own.

The classes that Apache's compiler and thriftpy2 generate give one object to every struct whose
field was not sent. Who changes it would change it for all that come later.
"""

from __future__ import annotations

import copy
import functools
from typing import TYPE_CHECKING, Any

from thrift.Thrift import TType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.thrift.interfaces import MethodSpec

_CONTAINERS = (TType.LIST, TType.SET, TType.MAP)


def unsharer(struct: Any, spec: Any) -> Callable[[Any], None] | None:
    """Return what gives a decoded struct its own copies of the defaults, in all its depth.

    Args:
        struct: the class of the struct.
        spec: its ``thrift_spec``, as `sparts.thrift.interfaces` describes it.

    Returns:
        a function, to be called before anybody sees the struct; None: nothing is shared.
    """
    if not any(_shared(each) for each in _classes([struct, spec], set())):
        return None
    return lambda value: _unshare(value, [struct, spec])


def answer_unsharer(method: MethodSpec) -> Callable[[Any], None] | None:
    """Return what does so for what a method has returned, or raised; None: nothing is shared."""
    if unsharer(method.result, method.result_spec) is None:
        return None
    fields = [field for field in method.result_spec or () if field is not None]

    def unshare(answer: Any) -> None:
        for number, kind, _, held, _ in fields:
            if (number != 0 and isinstance(answer, held[0])) or (
                number == 0 and not isinstance(answer, Exception)
            ):
                _unshare_in(answer, kind, held)

    return unshare


def _classes(described: Any, seen: set[Any]) -> Iterator[Any]:
    """Give the classes of all structs that a struct can hold, its own included."""
    struct, spec = described
    if struct in seen:
        return
    seen.add(struct)
    yield struct
    for field in spec or ():
        for inner in _structs(field[1], field[3]) if field else ():
            yield from _classes(inner, seen)


def _structs(kind: int, held: Any) -> Iterator[Any]:
    """Give the descriptions of the structs that a value of a type holds directly."""
    if kind == TType.STRUCT:
        yield held
    elif kind == TType.MAP:
        yield from _structs(held[0], held[1])
        yield from _structs(held[2], held[3])
    elif kind in _CONTAINERS:
        yield from _structs(held[0], held[1])


@functools.cache
def _shared(struct: Any) -> dict[str, Any]:
    """Return the values that two new structs of a class have in common, if they can change."""
    try:
        one, other = vars(struct()), vars(struct())
    except TypeError:  # an exception class with required arguments, or one with slots
        return {}
    return {
        name: value for name, value in one.items() if value is other[name] and _can_change(value)
    }


def _can_change(value: Any) -> bool:
    return isinstance(value, list | dict | set) or hasattr(type(value), "thrift_spec")


def _unshare(value: Any, described: Any) -> None:
    struct, spec = described
    for name, default in _shared(struct).items():
        if getattr(value, name, None) is default:
            vars(value)[name] = copy.deepcopy(default)  # exceptions of Apache's are frozen
    for field in spec or ():
        if field is not None and any(_structs(field[1], field[3])):
            _unshare_in(getattr(value, field[2], None), field[1], field[3])


def _unshare_in(value: Any, kind: int, held: Any) -> None:
    """Do the same to the structs in a value of a type."""
    if value is None:
        return
    if kind == TType.STRUCT:
        _unshare(value, held)
    elif kind == TType.MAP:
        for key, item in value.items():
            _unshare_in(key, held[0], held[1])
            _unshare_in(item, held[2], held[3])
    elif kind in _CONTAINERS:
        for item in value:
            _unshare_in(item, held[0], held[1])
