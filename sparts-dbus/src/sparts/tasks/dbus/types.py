"""Python's types as D-Bus types: what a method's annotations mean on the bus.

| in Python | on the bus |
|---|---|
| ``bool`` ``int`` ``float`` ``str`` ``bytes`` | ``b`` ``x`` (64 bits, signed) ``d`` ``s`` ``ay`` |
| ``UInt32`` and so on | ``u`` and so on |
| ``ObjectPath``, ``Signature``, ``UnixFD`` | ``o``, ``g``, ``h`` |
| ``list[T]``, ``Sequence[T]``, ``tuple[T, ...]`` | ``aT`` |
| ``dict[K, V]``, ``Mapping[K, V]`` | ``a{KV}``; K is a basic type |
| ``tuple[A, B]``, a ``NamedTuple`` | ``(AB)`` |
| an ``Enum`` of texts or of whole numbers | ``s`` or ``x`` |
| ``Any`` | ``v``; in Python the plain value |
| ``Variant`` | ``v``; in Python with its signature |
| ``Annotated[T, DBusSignature("a{us}")]`` | what the signature says, as dbus-fast has it |

https://dbus.freedesktop.org/doc/dbus-specification.html#type-system
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from dbus_fast import Variant, unpack_variants
from dbus_fast.annotations import (
    DBusByte,
    DBusInt16,
    DBusInt32,
    DBusInt64,
    DBusObjectPath,
    DBusSignature,
    DBusSignatureType,
    DBusUInt16,
    DBusUInt32,
    DBusUInt64,
)
from sparts.tasks.dbus.validity import BASIC, is_single
from sparts.tasks.dbus.validity import UnsupportedTypeError as UnsupportedTypeError

Byte = DBusByte
Int16 = DBusInt16
UInt16 = DBusUInt16
Int32 = DBusInt32
UInt32 = DBusUInt32
Int64 = DBusInt64
UInt64 = DBusUInt64
ObjectPath = DBusObjectPath
Signature = DBusSignatureType
UnixFD = Annotated[Any, DBusSignature("h")]
"""A file descriptor: a number where it comes in, a number or a file object where it goes out.

What comes in is closed after the call; ``os.dup`` it to keep it. What goes out is duplicated: a
number stays the method's own, a file object is closed.
"""

Convert = Callable[[Any], Any]


class DBusType(NamedTuple):
    """What an annotation means on the bus.

    Attributes:
        signature: one complete D-Bus type.
        decode: makes the Python value of what dbus-fast read; None: it is the value.
        encode: makes what dbus-fast writes of the Python value; None: it is the value.
    """

    signature: str
    decode: Convert | None = None
    encode: Convert | None = None


_PLAIN: dict[Any, DBusType] = {
    bool: DBusType("b"),
    int: DBusType("x"),
    float: DBusType("d"),
    str: DBusType("s"),
    bytes: DBusType("ay"),
    Variant: DBusType("v"),
}


def dbus_type(annotation: Any) -> DBusType:
    """Return what an annotation means on the bus.

    Raises:
        UnsupportedTypeError: D-Bus has no type for it.
    """
    if (plain := _PLAIN.get(annotation) if _hashable(annotation) else None) is not None:
        return plain
    if annotation in (Any, object):
        return DBusType("v", unpack_variants, pack)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(annotation, args)
    if origin in (list, Sequence) and len(args) == 1:
        return _array(args[0])
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return _array(args[0])
    if origin is tuple and args and args != ((),):
        return _struct(args, tuple)
    if origin in (dict, Mapping) and len(args) == 2:
        return _dict(annotation, *args)
    if fields := fields_of(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        return _struct([hints.get(name, Any) for name in fields], annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum(annotation)
    raise UnsupportedTypeError(f"{show(annotation)} is no type of D-Bus. {_hint(annotation)}")


def fields_of(annotation: Any) -> tuple[str, ...]:
    """Return the names of the fields of a NamedTuple; of anything else, none."""
    known = isinstance(annotation, type) and issubclass(annotation, tuple)
    return tuple(getattr(annotation, "_fields", ())) if known else ()


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True


def _hint(annotation: Any) -> str:
    if annotation is None or get_origin(annotation) is UnionType:
        return "It has no None and no unions: take Any (a variant), or an empty list."
    if annotation in (list, dict, tuple):
        return f"Say of what: {show(annotation)}[...]."
    return "See sparts.tasks.dbus.types for what there is."


def show(annotation: Any) -> str:
    """Return an annotation as it is written."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _annotated(annotation: Any, args: tuple[Any, ...]) -> DBusType:
    for extra in args[1:]:
        if isinstance(extra, DBusSignature):
            if not is_single(extra.signature):
                raise UnsupportedTypeError(f"{extra.signature!r} is not one complete type.")
            return DBusType(extra.signature)
    return dbus_type(args[0])


def _array(item: Any) -> DBusType:
    signature, decode, encode = dbus_type(item)
    return DBusType("a" + signature, decode and _each(decode), _each(encode) if encode else list)


def _each(convert: Convert) -> Convert:
    return lambda values: [convert(value) for value in values]


def _dict(annotation: Any, key: Any, value: Any) -> DBusType:
    k, v = dbus_type(key), dbus_type(value)
    if k.signature not in BASIC:
        raise UnsupportedTypeError(f"{show(annotation)}: the keys of a D-Bus dictionary are basic.")
    signature = f"a{{{k.signature}{v.signature}}}"
    return DBusType(signature, _items(k.decode, v.decode), _items(k.encode, v.encode))


def _items(key: Convert | None, value: Convert | None) -> Convert | None:
    if key is None and value is None:
        return None
    k, v = key or _same, value or _same
    return lambda items: {k(name): v(item) for name, item in items.items()}


def _same(value: Any) -> Any:
    return value


def _struct(parts: Sequence[Any], kind: type[Any]) -> DBusType:
    fields = [dbus_type(part) for part in parts]
    signature = "(" + "".join(field.signature for field in fields) + ")"
    make: Any = tuple if kind is tuple else kind._make
    decoders = [field.decode for field in fields]
    encoders = [field.encode for field in fields]

    def decode(values: Any) -> Any:
        return make(_converted(decoders, values))

    def encode(values: Any) -> list[Any]:
        return _converted(encoders, values)

    return DBusType(signature, decode, encode)


def _converted(converters: list[Convert | None], values: Sequence[Any]) -> list[Any]:
    """Convert each of several values by its own converter."""
    if len(values) != len(converters):
        raise UnsupportedTypeError(f"Values needed: {len(converters)}, not {len(values)}.")
    return [v if c is None else c(v) for c, v in zip(converters, values, strict=True)]


def converter(converters: Sequence[Convert | None]) -> Callable[[Sequence[Any]], list[Any]] | None:
    """Return a function that converts several values, each by its own; None: nothing to do."""
    if not any(converters):
        return None
    found = list(converters)
    return lambda values: _converted(found, values)


def _enum(kind: type[enum.Enum]) -> DBusType:
    values = [member.value for member in kind]
    for plain in (str, int):
        if values and all(type(value) is plain for value in values):
            return DBusType(_PLAIN[plain].signature, kind, lambda member: kind(member).value)
    raise UnsupportedTypeError(f"{show(kind)} is an Enum neither of texts nor of whole numbers.")


def pack(value: Any) -> Variant:
    """Return a value as a variant, its D-Bus type chosen by what it is.

    A list of things of one type is an array of that type, any other an array of variants; the
    values of a dictionary are variants; a tuple is a struct.

    Raises:
        UnsupportedTypeError: D-Bus has no type for it.
    """
    if isinstance(value, Variant):
        return value
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, bool | float | str | bytes):
        kind = next(t for t in (bool, float, str, bytes) if isinstance(value, t))
        return Variant(_PLAIN[kind].signature, value, verify=False)
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise UnsupportedTypeError(f"{value} does not fit into 64 bits.")
        return Variant("x" if value < 2**63 else "t", value, verify=False)
    if isinstance(value, Mapping):
        return _pack_mapping(value)
    if isinstance(value, tuple):
        packed = [pack(item) for item in value]
        signature = "(" + "".join(item.signature for item in packed) + ")"
        if packed:
            return Variant(signature, [item.value for item in packed], verify=False)
    if isinstance(value, list | tuple | set | frozenset):
        packed = [pack(item) for item in value]
        kinds = {item.signature for item in packed}
        if len(kinds) == 1:
            return Variant("a" + kinds.pop(), [item.value for item in packed], verify=False)
        return Variant("av", packed, verify=False)
    raise UnsupportedTypeError(f"D-Bus has no type for {value!r}, which is a {show(type(value))}.")


def _pack_mapping(value: Mapping[Any, Any]) -> Variant:
    packed = {k.value if isinstance(k, enum.Enum) else k: pack(v) for k, v in value.items()}
    for kind in (str, bool, int, float):
        if all(isinstance(key, kind) for key in packed):
            return Variant(f"a{{{_PLAIN[kind].signature}v}}", packed, verify=False)
    raise UnsupportedTypeError("The keys of a D-Bus dictionary are of one basic type.")
