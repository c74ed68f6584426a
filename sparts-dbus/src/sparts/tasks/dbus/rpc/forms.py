"""Types of RPC as D-Bus has them.

| in Python | on the bus |
|---|---|
| `bool`, `float`, `str`, `bytes` | `b`, `d`, `s`, `ay` |
| `int` | the smallest of `y n q i u x t` that holds its bounds; `x` without |
| `list`, `set`, `tuple[T, ...]` | `aT` |
| `tuple[A, B]`, a dataclass or msgspec.Struct | `(AB)`, all fields; `b` for none |
| a TypedDict | `a{sv}`, without what is missing |
| `dict[K, V]` | `a{KV}`; `a(KV)` where K is no basic type |
| `T \\| None` | `aT`, which is empty for None |
| a union | `(sv)`: the name of the member, and its value |
| an Enum | `s` or `x`, its value; `s`, its name, if the values are of other types |
| `datetime`, `date`, `timedelta`, `UUID`, `Decimal` | `s`, as in JSON |
| `Any` | `v` |
| a struct within one that it may hold itself | `v` |
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec
from dbus_fast import Variant, unpack_variants
from sparts.rpc.parts import (
    AS_TEXT,
    Convert,
    at,
    chosen,
    from_text,
    limits_of,
    picker,
    to_text,
    wrong,
)
from sparts.rpc.types import Field, Kind, Type
from sparts.tasks.dbus.types import DBusType, pack
from sparts.tasks.dbus.validity import BASIC

_PLAIN = {Kind.BOOL: "b", Kind.FLOAT: "d", Kind.STR: "s"}
_INTS = (
    ("y", 0, 2**8), ("n", -(2**15), 2**15), ("q", 0, 2**16), ("i", -(2**31), 2**31),
    ("u", 0, 2**32), ("x", -(2**63), 2**63), ("t", 0, 2**64),
)  # fmt: skip


class Forms:
    """The D-Bus types of the types of an interface."""

    def __init__(self) -> None:
        self._known: dict[Type, DBusType] = {}
        self._owners: list[Type] = []  # the structs whose fields are looked at, the innermost last
        self._later: list[Type] = []

    def of(self, type_: Type) -> DBusType:
        """Return what a type is on the bus.

        Raises:
            TypeError: D-Bus cannot carry it; the message says why.
        """
        if self._owners and type_.kind is Kind.STRUCT and _holds(type_, self._owners[-1]):
            self._later.append(type_)
            return DBusType("v", *self._late(type_))
        if type_ not in self._known:
            self._known[type_] = self._made(type_)
        while self._later and not self._owners:
            self.of(self._later.pop())
        return self._known[type_]

    def _late(self, type_: Type) -> tuple[Convert, Convert]:
        """Return the conversions of a struct within itself, which is known when values are."""

        def decode(value: Variant) -> Any:
            found = self._known[type_]
            return _opened(found, value)

        def encode(value: Any) -> Variant:
            found = self._known[type_]
            return Variant(
                found.signature, found.encode(value) if found.encode else value, verify=False
            )

        return decode, encode

    def _made(self, type_: Type) -> DBusType:
        kind = type_.kind
        if kind in _PLAIN:
            return DBusType(_PLAIN[kind], limits_of(type_))
        if kind in AS_TEXT:
            return DBusType("s", from_text(type_), to_text(type_))
        make: dict[Kind, Callable[[Type], DBusType]] = {
            Kind.NONE: _none, Kind.INT: _int, Kind.BYTES: _bytes, Kind.ENUM: _enum,
            Kind.ANY: _any, Kind.LIST: self._list, Kind.SET: self._list, Kind.DICT: self._dict,
            Kind.TUPLE: self._tuple, Kind.OPTIONAL: self._optional, Kind.UNION: self._union,
            Kind.STRUCT: self._struct,
        }  # fmt: skip
        return make[kind](type_)

    def _list(self, type_: Type) -> DBusType:
        item, cls = self.of(type_.args[0]), type_.cls or list
        decode = None if cls is list and item.decode is None else _items(item.decode, cls)
        encode = _items(item.encode, bytes if item.signature == "y" else list)
        return DBusType(f"a{item.signature}", chosen(decode, limits_of(type_)), encode)

    def _optional(self, type_: Type) -> DBusType:
        item = self.of(type_.args[0])
        read, write = item.decode or _same, item.encode or _same

        def decode(value: list[Any]) -> Any:
            if len(value) > 1:
                raise msgspec.ValidationError(f"Expected at most one item, got {len(value)}")
            return read(value[0]) if value else None

        def encode(value: Any) -> Any:
            return [] if value is None else [write(value)]

        if item.signature != "y":
            return DBusType(f"a{item.signature}", decode, encode)
        return DBusType("ay", lambda value: decode(list(value)), lambda value: bytes(encode(value)))

    def _dict(self, type_: Type) -> DBusType:
        keys, values = map(self.of, type_.args)
        k, v = keys.decode or _same, values.decode or _same
        k_out, v_out = keys.encode or _same, values.encode or _same
        if keys.signature in BASIC:

            def decode(value: dict[Any, Any]) -> dict[Any, Any]:
                return {k(key): v(each) for key, each in value.items()}

            def encode(value: dict[Any, Any]) -> Any:
                return {k_out(key): v_out(each) for key, each in value.items()}

            signature = f"a{{{keys.signature}{values.signature}}}"
            return DBusType(signature, chosen(decode, limits_of(type_)), encode)

        def decode_entries(value: list[Any]) -> dict[Any, Any]:
            return {k(key): v(each) for key, each in value}

        def encode_entries(value: dict[Any, Any]) -> Any:
            return [[k_out(key), v_out(each)] for key, each in value.items()]

        signature = f"a({keys.signature}{values.signature})"
        return DBusType(signature, chosen(decode_entries, limits_of(type_)), encode_entries)

    def _tuple(self, type_: Type) -> DBusType:
        parts = [(f"[{number}]", self.of(each)) for number, each in enumerate(type_.args)]
        if not parts:
            return DBusType("b", lambda _: (), lambda _: False)
        decode, encode = _decoder(parts, lambda *values: values), _encoder(parts)
        return DBusType(_signature(parts), decode, encode)

    def _union(self, type_: Type) -> DBusType:
        pick = picker(type_)
        parts = [(each.name, self.of(each)) for each in type_.args]
        known = dict(parts)

        def decode(value: list[Any]) -> Any:
            name, variant = value
            part = known.get(name)
            if part is None:
                raise msgspec.ValidationError(f"Expected one of {', '.join(known)}, got {name!r}")
            return at(f".{name}", partial(_opened, part), variant)

        def encode(value: Any) -> list[Any]:
            name, part = parts[pick(value)]
            written = part.encode(value) if part.encode else value
            return [name, Variant(part.signature, written, verify=False)]

        return DBusType("(sv)", decode, encode)

    def _struct(self, type_: Type) -> DBusType:
        self._owners.append(type_)
        try:
            fields = [(each, self.of(each.type)) for each in type_.fields]
        finally:
            self._owners.pop()
        if type_.is_typed_dict:
            return _typed_dict(type_, fields)
        cls = type_.cls
        if not fields:
            return DBusType("b", lambda _: cls(), _placeholder(cls))
        names = [each.name for each, _ in fields]
        parts = [(f".{each.name}", part) for each, part in fields]

        pick: Any = attrgetter(*names)
        values_of = pick if len(names) > 1 else lambda value: (pick(value),)
        encode_values = _encoder(parts)

        def encode(value: Any) -> list[Any]:
            if not isinstance(value, cls):
                raise wrong(cls.__name__, value)
            return encode_values(values_of(value))  # type: ignore[no-any-return]

        return DBusType(_signature(parts), _decoder(parts, _maker(cls, names)), encode)


def _maker(cls: Any, names: Sequence[str]) -> Callable[..., Any]:
    """Return what makes a struct of the values of all of its fields."""
    make: Any = cls
    if dataclasses.is_dataclass(cls) and not any(f.kw_only for f in dataclasses.fields(cls)):
        return make  # type: ignore[no-any-return]
    return lambda *values: make(**dict(zip(names, values, strict=True)))


def check_type(type_: Type) -> None:
    """Raise TypeError if D-Bus cannot carry a type, without what that is made of."""
    if type_.kind is Kind.INT:
        _int(type_)
    elif type_.kind is Kind.UNION:
        picker(type_)


def _holds(type_: Type, other: Type) -> bool:
    """Return whether a value of a type may hold one of another."""
    return any(part is other for _, part in type_.walk())


def _signature(parts: Sequence[tuple[str, DBusType]]) -> str:
    return f"({''.join(part.signature for _, part in parts)})"


def _decoder(parts: Sequence[tuple[str, DBusType]], make: Callable[..., Any]) -> Convert:
    """Return what makes a value of the items of a struct."""
    converts = [(n, path, p.decode) for n, (path, p) in enumerate(parts) if p.decode is not None]

    def decode(value: Sequence[Any]) -> Any:
        values: Any = list(value) if converts else value
        for number, path, convert in converts:
            values[number] = at(path, convert, values[number])
        try:
            return make(*values)
        except (TypeError, ValueError) as error:
            raise msgspec.ValidationError(str(error)) from error

    return decode


def _encoder(parts: Sequence[tuple[str, DBusType]]) -> Convert:
    """Return what makes the items of a struct."""
    converts = [(n, path, p.encode) for n, (path, p) in enumerate(parts) if p.encode is not None]
    count = len(parts)

    def encode(values: Sequence[Any]) -> list[Any]:
        written = list(values)
        if len(written) != count:
            raise msgspec.ValidationError(f"Expected items: {count}, got {len(written)}")
        for number, path, convert in converts:
            written[number] = at(path, convert, written[number])
        return written

    return encode


def _typed_dict(type_: Type, fields: Sequence[tuple[Field, DBusType]]) -> DBusType:
    known = {each.name: part for each, part in fields}
    required = {each.name for each, _ in fields if each.required}

    def decode(value: dict[str, Variant]) -> dict[str, Any]:
        if missing := sorted(required - value.keys()):
            raise msgspec.ValidationError(f"Missing in {type_.name}: {', '.join(missing)}")
        return {name: at(f".{name}", partial(_opened, known[name]), each)
                for name, each in value.items() if name in known}  # fmt: skip

    def encode(value: dict[str, Any]) -> dict[str, Variant]:
        found = {}
        for name, each in value.items():
            if name not in known:
                raise msgspec.ValidationError(f"Unexpected in {type_.name}: {name}")
            part = known[name]
            written = at(f".{name}", part.encode, each) if part.encode else each
            found[name] = Variant(part.signature, written, verify=False)
        return found

    return DBusType("a{sv}", decode, encode)


def _opened(part: DBusType, value: Variant) -> Any:
    """Return what a variant of a type holds."""
    if value.signature != part.signature:
        raise msgspec.ValidationError(
            f"Expected a variant of `{part.signature}`, got one of `{value.signature}`"
        )
    return part.decode(value.value) if part.decode else value.value


def _items(convert: Convert | None, make: Callable[[Any], Any]) -> Convert:
    if convert is None:
        return make
    return lambda values: make([convert(each) for each in values])


def _same(value: Any) -> Any:
    return value


def _placeholder(cls: Any) -> Convert:
    def encode(value: Any) -> bool:
        if not isinstance(value, cls):
            raise wrong(cls.__name__, value)
        return False

    return encode


def _none(type_: Type) -> DBusType:
    return DBusType("b", lambda _: None, _placeholder(type(None)))


def _bytes(type_: Type) -> DBusType:
    return DBusType("ay", chosen(bytes, limits_of(type_)), _placeholder_bytes)


def _placeholder_bytes(value: Any) -> Any:
    if not isinstance(value, bytes):
        raise wrong("bytes", value)
    return value


def _int(type_: Type) -> DBusType:
    low, high = type_.bounds
    for signature, least, beyond in _INTS:
        if least <= low and high < beyond:
            return DBusType(signature, limits_of(type_))
    raise TypeError("it has no ints of more than 64 bits")


def _enum(type_: Type) -> DBusType:
    cls: type[enum.Enum] = type_.cls
    values: dict[enum.Enum, Any] = {each: each.value for each in cls}
    signature = "s"
    if all(type(each) is int and -(2**63) <= each < 2**63 for each in values.values()):
        signature = "x"
    elif not all(type(each) is str for each in values.values()):
        values = {each: each.name for each in cls}
    members = {value: each for each, value in values.items()}

    def decode(value: Any) -> enum.Enum:
        if value not in members:
            raise msgspec.ValidationError(f"Invalid enum value {value!r}")
        return members[value]

    def encode(value: Any) -> Any:
        if not isinstance(value, cls):
            raise wrong(cls.__name__, value)
        return values[value]

    return DBusType(signature, decode, encode)


def _any(type_: Type) -> DBusType:
    def encode(value: Any) -> Variant:
        try:
            return pack(value)
        except TypeError as error:
            raise msgspec.ValidationError(str(error)) from error

    return DBusType("v", unpack_variants, encode)
