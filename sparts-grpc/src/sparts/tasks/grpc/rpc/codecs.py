"""What reads values from messages of protobuf, and writes them: one function a field, made once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from sparts.rpc.errors import InvalidArgumentsError
from sparts.rpc.parts import AS_TEXT, from_text, limits_of, picker, to_text
from sparts.rpc.types import INT64, MISSING, Kind, Type
from sparts.rpc.values import WRONG, check, explain

Convert = Callable[[Any], Any]
_UINT64 = (0, 2**64 - 1)


class Codec(NamedTuple):
    """Reads and writes a single value; None: it is what protobuf takes and gives itself."""

    read: Convert | None
    write: Convert | None


class Column(NamedTuple):
    """The field of a value.

    Attributes:
        name: the name of the field.
        read: reads the value from the message; it may raise `Absent`.
        write: returns what the message's class takes for the value.
        plain: whether `read` does no more than to get the attribute.
        takes_none: whether None is a value.
    """

    name: str
    read: Convert
    write: Convert | None
    plain: bool = False
    takes_none: bool = False


class Absence(NamedTuple):
    """What a value is whose field is absent."""

    make: Callable[[], Any]
    is_empty: bool = False
    """Whether that is an empty list, set or dict: what protobuf reads of an absent field."""
    is_none: bool = False
    """Whether that is None."""


class AbsentError(Exception):
    """A value is absent that may be."""


def absence(default: Any, factory: Callable[[], Any] | None, may_lack: bool) -> Absence | None:
    """Return what an absent field means; None: it may not be absent."""
    if may_lack:
        return Absence(_lack)
    if factory is not None:
        made = factory()
        return Absence(factory, isinstance(made, list | set | frozenset | dict) and not made)
    if default is MISSING:
        return None
    if isinstance(default, bool | int | float | str | bytes | type(None)):
        return Absence(lambda: default, is_none=default is None)
    is_empty = isinstance(default, list | set | frozenset | dict | tuple) and not default
    return Absence(lambda: copy.deepcopy(default), is_empty)


def _lack() -> Any:
    raise AbsentError


def own_doc(cls: type) -> str:
    """Return the docstring that a class has for itself; dataclasses get one of no use."""
    doc = inspect.cleandoc(vars(cls).get("__doc__") or "")
    return "" if doc.startswith(f"{cls.__name__}(") else doc


# -- single values ---------------------------------------------------------------------------------


def integer(type_: Type) -> Codec:
    """Return the codec of ints, which checks bounds that are narrower than protobuf's."""
    if type_.bounds in (INT64, _UINT64):
        return Codec(None, None)
    limits = limits_of(type_)
    return Codec(limits, limits)


def scalar(type_: Type) -> Codec:
    """Return the codec of what is a scalar, or a string."""
    if type_.kind is Kind.NONE:
        return Codec(lambda _: None, lambda _: False)
    if type_.kind is Kind.ANY:
        return Codec(msgspec.json.decode, lambda value: _json(type_, value))
    if type_.kind in AS_TEXT:
        return Codec(from_text(type_), to_text(type_))
    limits = limits_of(type_)
    return Codec(limits, limits)


def _json(type_: Type, value: Any) -> str:
    check(type_, value, "value", True)
    return msgspec.json.encode(value).decode()


def enumerated(cls: type, members: Sequence[Any]) -> Codec:
    """Return the codec of an enum."""
    numbers = {member: number for number, member in enumerate(members, 1)}
    known = ", ".join(member.name for member in members)

    def read(number: int) -> Any:
        if not 0 < number <= len(members):
            raise ValueError(f"expected one of {known}, got the number {number}")
        return members[number - 1]

    def write(value: Any) -> int:
        if type(value) is not cls:
            raise TypeError(f"expected {cls.__name__}, got {type(value).__name__}")
        return numbers[value]

    return Codec(read, write)


def read_column(column: Column, message: Any) -> Any:
    """Return the value of a field; an error names it."""
    try:
        return column.read(message)
    except WRONG as error:
        raise InvalidArgumentsError(_at(column.name, explain(error))) from error
    except InvalidArgumentsError as error:
        raise InvalidArgumentsError(_at(column.name, str(error))) from error


def _at(name: str, text: str) -> str:
    """Return the message of an error with a further part of the path before it."""
    path = text.partition(": ")[0]
    if path[:1] == "[":
        return f"{name}{text}"
    return f"{name}.{text}" if path != text and " " not in path else f"{name}: {text}"


def built(message: Any, columns: Sequence[Column], values: Sequence[Any]) -> Any:
    """Return a message of a class with some values.

    Raises:
        InvalidArgumentsError: a value is not of its type; the error names the path.
    """
    arguments = _written(columns, values)
    try:
        return message(**arguments)
    except (TypeError, ValueError):
        for name, value in arguments.items():
            try:
                message(**{name: value})
            except (TypeError, ValueError) as error:
                raise InvalidArgumentsError(f"{name}: {error}") from error
        raise


def _written(columns: Sequence[Column], values: Sequence[Any]) -> dict[str, Any]:
    """Return the arguments of a message's class for some values."""
    found: dict[str, Any] = {}
    for name, _, write, _, takes_none in columns:
        value = values[len(found)]
        if value is None and takes_none:
            found[name] = None  # protobuf leaves the field out
        elif write is not None:
            try:
                found[name] = write(value)
            except InvalidArgumentsError as error:
                raise InvalidArgumentsError(_at(name, str(error))) from error
            except WRONG as error:
                raise InvalidArgumentsError(_at(name, explain(error))) from error
        elif value is None:
            raise InvalidArgumentsError(f"{name}: None is no value of it")
        else:
            found[name] = value
    return found


def held(codec: Codec) -> Codec:
    """Return the codec of one value in a message of its own, made of that of the message."""
    read, write = codec
    assert read is not None  # noqa: S101 - messages have both
    assert write is not None  # noqa: S101 - it is made by then
    return Codec(lambda message: read(message)[0], lambda value: write((value,)))


def union(message: Callable[[], Any], type_: Type, columns: list[Column]) -> Codec:
    """Return the codec of a union, whose list of members may grow until the first use.

    Raises:
        TypeError: two members cannot be distinguished.
    """
    pick, by_name = picker(type_), dict[str, Column]()

    def read(value: Any) -> Any:
        if not by_name:
            by_name.update((each.name, each) for each in columns)
        name = value.WhichOneof("value")
        if name is None:
            raise ValueError("expected one of the members of the union")
        return read_column(by_name[name], value)

    def write(value: Any) -> Any:
        return built(message(), [columns[pick(value)]], [value])

    return Codec(read, write)


# -- fields ----------------------------------------------------------------------------------------


def single(name: str, codec: Codec, absent: Absence | None, has_presence: bool) -> Column:
    """Return the column of one value."""
    get, (read, write) = attrgetter(name), codec
    takes_none = absent is not None and absent.is_none
    if not has_presence:
        if read is None:
            return Column(name, get, write, True)
        return Column(name, lambda message: read(get(message)), write)

    def read_present(message: Any) -> Any:
        if not message.HasField(name):
            if absent is None:
                raise ValueError("it is missing")
            return absent.make()
        value = get(message)
        return value if read is None else read(value)

    return Column(name, read_present, write, takes_none=takes_none)


def repeated(name: str, codec: Codec, cls: Any, limits: Convert | None) -> Column:
    """Return the column of a list, a set or a tuple."""
    get, (read, write) = attrgetter(name), codec

    def read_plain(message: Any) -> Any:
        values = get(message)
        if read is None:
            return cls(values)
        try:
            return cls([read(each) for each in values])
        except (InvalidArgumentsError, ValueError, TypeError):
            return cls(_each(read, values))  # names the item

    def write_plain(values: Any) -> Any:
        if not isinstance(values, cls):
            raise TypeError(f"expected {cls.__name__}, got {type(values).__name__}")
        if write is None:
            return values
        try:
            return [write(each) for each in values]
        except (InvalidArgumentsError, ValueError, TypeError):
            return list(_each(write, values))  # names the item

    if limits is None:
        return Column(name, read_plain, write_plain)

    def write_limited(values: Any) -> Any:
        limits(values)
        return write_plain(values)

    return Column(name, lambda message: limits(read_plain(message)), write_limited)


def _each(convert: Convert, values: Any) -> Iterator[Any]:
    for number, each in enumerate(values):
        try:
            yield convert(each)
        except InvalidArgumentsError as error:
            raise InvalidArgumentsError(_at(f"[{number}]", str(error))) from error
        except WRONG as error:
            raise InvalidArgumentsError(_at(f"[{number}]", explain(error))) from error


def mapped(name: str, key: Codec, value: Codec) -> Column:
    """Return the column of a dict that is a map."""
    get = attrgetter(name)

    def read_all(message: Any) -> Any:
        entries = get(message)
        if key.read is None and value.read is None:
            return dict(entries)
        return {
            each if key.read is None else key.read(each): entries[each]
            if value.read is None
            else value.read(entries[each])
            for each in entries
        }

    def write_all(values: Any) -> Any:
        if not isinstance(values, dict):
            raise TypeError(f"expected dict, got {type(values).__name__}")
        return {
            each if key.write is None else key.write(each): item
            if value.write is None
            else value.write(item)
            for each, item in values.items()
        }

    return Column(name, read_all, write_all)


def entries(name: str, codec: Codec) -> Column:
    """Return the column of a dict whose entries are messages."""
    get, (read, write) = attrgetter(name), codec
    assert read is not None  # noqa: S101 - messages have both
    assert write is not None  # noqa: S101 - it is made by then
    return Column(
        name,
        lambda message: dict(map(read, get(message))),
        lambda values: [write(each) for each in values.items()],
    )
