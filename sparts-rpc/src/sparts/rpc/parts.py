"""Parts of values that transports with a form of their own have in common; by msgspec.

A `Convert` raises `msgspec.ValidationError`; `at` adds where that was, and
`sparts.rpc.values.explain` says it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from sparts.errors import UsageError
from sparts.rpc.errors import InvalidArgumentsError
from sparts.rpc.types import INT64, MISSING, Kind, Type
from sparts.rpc.unions import Convert as Convert
from sparts.rpc.unions import at as at
from sparts.rpc.values import Values, explain

if TYPE_CHECKING:
    from sparts.rpc.interface import Method, Parameter

_CLASSES: dict[Kind, Any] = {
    Kind.NONE: type(None), Kind.BOOL: bool, Kind.INT: int, Kind.FLOAT: float, Kind.STR: str,
    Kind.BYTES: bytes, Kind.LIST: list, Kind.TUPLE: tuple, Kind.SET: set, Kind.DICT: dict,
}  # fmt: skip
AS_TEXT = (Kind.DATETIME, Kind.DATE, Kind.TIMEDELTA, Kind.UUID, Kind.DECIMAL)
"""The kinds that JSON has as strings; a transport without a form for them has the same strings."""


def class_of(type_: Type) -> Any:
    """Return the class of the values of a type; None: they have no one class."""
    if type_.is_typed_dict:
        return dict
    if type_.kind in AS_TEXT:
        return _plain(type_)
    return type_.cls or _CLASSES.get(type_.kind)


def _plain(type_: Type) -> Any:
    """Return an annotation without its notes."""
    return getattr(type_.annotation, "__origin__", type_.annotation)


def from_text(type_: Type) -> Convert:
    """Return what makes a value of one of the kinds `AS_TEXT` from its string."""
    return partial(msgspec.convert, type=type_.annotation)


def to_text(type_: Type) -> Convert:
    """Return what makes the string of a value of one of the kinds `AS_TEXT`."""
    cls = class_of(type_)

    def write(value: Any) -> Any:
        if not isinstance(value, cls):
            raise wrong(cls.__name__, value)
        return msgspec.to_builtins(value)

    return write


def limits_of(type_: Type) -> Convert | None:
    """Return what checks a value against the notes of its annotation; None: it has none.

    It returns the value, and is for values whose type is right.
    """
    notes = getattr(type_.annotation, "__metadata__", ())
    metas = [each for each in notes if isinstance(each, msgspec.Meta)]
    base = _CLASSES.get(type_.kind)
    if metas and base is not None:
        return partial(msgspec.convert, type=Annotated[(base, *metas)])
    return _within(type_.bounds) if type_.kind is Kind.INT and type_.bounds != INT64 else None


def _within(bounds: tuple[int, int]) -> Convert:
    low, high = bounds

    def check(value: int) -> int:
        if not low <= value <= high:
            raise msgspec.ValidationError(f"Expected an int from {low} to {high}, got {value}")
        return value

    return check


def chosen(*converts: Convert | None) -> Convert | None:
    """Return what applies several, one after the other; None: there are none."""
    found = [each for each in converts if each is not None]
    if len(found) < 2:
        return found[0] if found else None
    first, second = found
    return lambda value: second(first(value))


def picker(type_: Type) -> Callable[[Any], int]:
    """Return what finds which member of a union a value is of: its number, from 0.

    Raises:
        TypeError: two members have values of one class, or one has values of any.
    """
    numbers: dict[Any, int] = {}
    for number, each in enumerate(type_.args):
        cls = class_of(each)
        if cls is None:
            raise TypeError(f"the class of a value of {each.name} is not known")
        if numbers.setdefault(cls, number) != number:
            other = type_.args[numbers[cls]].name
            raise TypeError(f"{each.name} and {other} have values of one class, {cls.__name__}")

    def pick(value: Any) -> int:
        for cls in type(value).__mro__:
            if cls in numbers:
                return numbers[cls]
        names = ", ".join(each.name for each in type_.args)
        raise wrong(f"one of {names}", value)

    return pick


def check_parts(method: Method, transport: str, check: Callable[[Type], object]) -> None:
    """Call a function with each type that a call of a method may carry.

    Raises:
        UsageError: it raised TypeError; the message names method, parameter, type and transport.
    """
    for where, type_ in method.parts():
        try:
            check(type_)
        except TypeError as error:
            what = f"{method.qualified}, {where}: {type_.name}"
            raise UsageError(f"{transport} cannot carry {what}: {error}.") from error


def wrong(expected: str, value: Any) -> msgspec.ValidationError:
    """Return the error of a value that is not of its type."""
    return msgspec.ValidationError(f"Expected `{expected}`, got `{type(value).__name__}`")


def default_of(parameter: Parameter) -> Callable[[], Any]:
    """Return what gives the value of a parameter that a caller has left out.

    Raises:
        InvalidArgumentsError: when that is called, for a parameter that must be given.
    """
    name, default = parameter.name, parameter.default
    if default is MISSING and parameter.type.kind is not Kind.OPTIONAL:

        def missing() -> Any:
            raise InvalidArgumentsError(f"{name}: it is missing, or not of its type")

        return missing
    default = None if default is MISSING else default
    return lambda: copy.deepcopy(default)


def refusal(
    method: Method, arguments: Sequence[Any], error: BaseException
) -> InvalidArgumentsError:
    """Return the error of arguments that could not be written, which names the path."""
    if isinstance(error, msgspec.ValidationError):
        return InvalidArgumentsError(explain(error))
    try:
        values = Values(method, msgspec.msgpack)
        values.read_arguments(values.write_arguments(tuple(arguments)))
    except InvalidArgumentsError as found:
        return found
    except Exception as other:  # msgspec has no form for a type of the method
        error.add_note(str(other))
    return InvalidArgumentsError(explain(error))
