"""The types of values in calls: what an annotation means, for every transport alike.

`type_of` turns an annotation into a `Type`: a kind, and the types that it is made of. A transport
maps kinds to what it has. All kinds together: see `Kind`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import types
import typing
import uuid
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, get_args, get_origin, is_typeddict

INT64 = (-(2**63), 2**63 - 1)
"""The bounds of an int without an annotation of its own."""


class Kind(StrEnum):
    """What a value is."""

    NONE = "none"
    BOOL = "bool"
    INT = "int"
    """Within ``Type.bounds``: of 64 bits, unless ``Annotated[int, msgspec.Meta(ge=..., le=...)]``
    says otherwise."""
    FLOAT = "float"
    STR = "str"
    BYTES = "bytes"
    LIST = "list"
    """``args``: the items."""
    TUPLE = "tuple"
    """``args``: one for each item; of ``tuple[T, ...]`` it is a LIST whose ``cls`` is tuple."""
    SET = "set"
    """``args``: the items; ``cls``: set or frozenset."""
    DICT = "dict"
    """``args``: keys, values."""
    OPTIONAL = "optional"
    """``args``: what it is if it is not None."""
    UNION = "union"
    """``args``: two or more types, without None."""
    STRUCT = "struct"
    """A dataclass, msgspec.Struct or TypedDict (a dict); ``cls`` and ``fields``."""
    ENUM = "enum"
    """``cls``: the enum.Enum."""
    DATETIME = "datetime"
    DATE = "date"
    TIMEDELTA = "timedelta"
    UUID = "uuid"
    DECIMAL = "decimal"
    ANY = "any"
    """Any value of the kinds above that says itself what it is."""


class _Missing(enum.Enum):
    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing.MISSING
"""The default of what has none."""


class Field(NamedTuple):
    """A field of a struct.

    Attributes:
        name: its name in Python.
        type: what it holds.
        default: its default; MISSING: none, or ``factory`` makes it.
        factory: makes the default; None: there is ``default``, or none.
        required: whether it must be given.
        wire_name: its name in JSON: ``name``, unless a msgspec.Struct renames it.
    """

    name: str
    type: Type
    default: Any
    factory: Callable[[], Any] | None
    required: bool
    wire_name: str


class UnsupportedTypeError(TypeError):
    """An annotation that no transport can carry."""


class Type:
    """What an annotation means. Structs are one object for each class: they may contain themselves.

    Attributes:
        kind: what it is.
        annotation: the annotation.
        args: the types that it is made of, see `Kind`.
        cls: the class of structs, enums, lists and sets; else None.
        bounds: the least and the greatest int.
    """

    def __init__(
        self,
        kind: Kind,
        annotation: Any,
        args: tuple[Type, ...] = (),
        cls: Any = None,
        bounds: tuple[int, int] = INT64,
    ) -> None:
        self.kind: Kind = kind
        self.annotation: Any = annotation
        self.args: tuple[Type, ...] = args
        self.cls: Any = cls
        self.bounds = bounds

    @property
    def name(self) -> str:
        """Its name, for messages and for what is generated: ``Point``, ``list[int]``."""
        shown = self.annotation
        return shown.__name__ if isinstance(shown, type) and not get_args(shown) else str(shown)

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        """The fields of a struct, in the order of declaration; of other kinds: none.

        Raises:
            UnsupportedTypeError: a field cannot be carried.
        """
        return tuple(_fields(self.cls)) if self.kind is Kind.STRUCT else ()

    @property
    def is_typed_dict(self) -> bool:
        """Whether it is a struct whose values are dicts."""
        return self.kind is Kind.STRUCT and is_typeddict(self.cls)

    def walk(self, path: str = "") -> Iterator[tuple[str, Type]]:
        """Give each type that values of this one may hold, itself first, with a path such as
        ``a.x``; each struct once.
        """
        return self._walk(path, set())

    def _walk(self, path: str, seen: set[Type]) -> Iterator[tuple[str, Type]]:
        if self in seen:
            return
        if self.kind is Kind.STRUCT:
            seen.add(self)
        yield path, self
        for each in self.args:
            yield from each._walk(f"{path}[...]" if self.kind in _HOLDERS else path, seen)
        for field in self.fields:
            yield from field.type._walk(f"{path}.{field.name}", seen)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"


_HOLDERS = (Kind.LIST, Kind.TUPLE, Kind.SET, Kind.DICT)
_PLAIN: dict[Any, Kind] = {
    None: Kind.NONE, type(None): Kind.NONE, bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT,
    str: Kind.STR, bytes: Kind.BYTES, datetime.datetime: Kind.DATETIME, datetime.date: Kind.DATE,
    datetime.timedelta: Kind.TIMEDELTA, uuid.UUID: Kind.UUID, decimal.Decimal: Kind.DECIMAL,
    Any: Kind.ANY, object: Kind.ANY,
}  # fmt: skip
_GENERIC: dict[Any, tuple[Kind, Any]] = {
    list: (Kind.LIST, list), collections.abc.Sequence: (Kind.LIST, list), set: (Kind.SET, set),
    frozenset: (Kind.SET, frozenset), dict: (Kind.DICT, None),
    collections.abc.Mapping: (Kind.DICT, None),
}  # fmt: skip
_structs: dict[Any, Type] = {}


def type_of(annotation: Any) -> Type:
    """Return what an annotation means.

    Raises:
        UnsupportedTypeError: no transport can carry it; the message says why.
    """
    origin = get_origin(annotation)
    if origin is typing.Annotated:
        return _annotated(annotation)
    if origin in (typing.Required, typing.NotRequired):
        return type_of(get_args(annotation)[0])
    if hasattr(annotation, "__supertype__"):  # NewType
        return type_of(annotation.__supertype__)
    if type(annotation).__name__ == "TypeAliasType":
        return type_of(annotation.__value__)
    if annotation in (list, set, frozenset, dict, tuple):
        return _bare(annotation)
    try:
        if annotation in _PLAIN:
            return Type(_PLAIN[annotation], annotation)
    except TypeError:  # not hashable
        raise UnsupportedTypeError(f"{annotation!r} is no type") from None
    if origin in (typing.Union, types.UnionType):
        return _union(annotation)
    if origin is tuple:
        items = get_args(annotation)
        if len(items) == 2 and items[1] is Ellipsis:
            return Type(Kind.LIST, annotation, (type_of(items[0]),), tuple)
        return Type(Kind.TUPLE, annotation, tuple(map(type_of, items)))
    if origin in _GENERIC:
        kind, cls = _GENERIC[origin]
        return Type(kind, annotation, tuple(map(type_of, get_args(annotation))), cls)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Type(Kind.ENUM, annotation, cls=annotation)
    if is_struct(annotation):
        return _structs.setdefault(annotation, Type(Kind.STRUCT, annotation, cls=annotation))
    raise UnsupportedTypeError(f"{_shown(annotation)} is none of the types that calls carry")


def is_struct(annotation: Any) -> bool:
    """Return whether a type is a dataclass, a msgspec.Struct or a TypedDict, without parameters."""
    if not isinstance(annotation, type) or getattr(annotation, "__parameters__", None):
        return False
    return (
        dataclasses.is_dataclass(annotation)
        or is_typeddict(annotation)
        or hasattr(annotation, "__struct_fields__")
    )


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else str(annotation)


def _bare(annotation: Any) -> Type:
    item = Type(Kind.ANY, Any)
    if annotation is dict:
        return Type(Kind.DICT, annotation, (item, item))
    kind = Kind.SET if annotation in (set, frozenset) else Kind.LIST
    return Type(kind, annotation, (item,), annotation)


def _annotated(annotation: Any) -> Type:
    plain, *notes = get_args(annotation)
    found = type_of(plain)
    low, high = found.bounds
    for note in notes:
        for name, value in (("ge", 0), ("gt", 1)):
            if isinstance(limit := getattr(note, name, None), int):
                low = limit + value
        for name, value in (("le", 0), ("lt", -1)):
            if isinstance(limit := getattr(note, name, None), int):
                high = limit + value
    if found.kind is Kind.STRUCT:
        return found
    return Type(found.kind, annotation, found.args, found.cls, (low, high))


def _union(annotation: Any) -> Type:
    members = [each for each in get_args(annotation) if each is not type(None)]
    args = tuple(map(type_of, members))
    inner = args[0]
    if len(args) > 1:
        inner = Type(Kind.UNION, typing.Union[tuple(members)], args)  # noqa: UP007 - of a tuple
    if len(members) == len(get_args(annotation)):
        return inner
    return Type(Kind.OPTIONAL, annotation, (inner,))


def _fields(cls: Any) -> Iterator[Field]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise UnsupportedTypeError(
            f"{cls.__qualname__} has an annotation that is not known at run time: {error}"
        ) from error

    def made(each: Any, absent: Any, wire_name: str) -> Field:
        default = MISSING if each.default is absent else each.default
        factory = None if each.default_factory is absent else each.default_factory
        required = default is MISSING and factory is None
        return Field(each.name, type_of(hints[each.name]), default, factory, required, wire_name)

    if dataclasses.is_dataclass(cls):
        for each in dataclasses.fields(cls):
            if each.init:
                yield made(each, dataclasses.MISSING, each.name)
    elif is_typeddict(cls):
        for name, hint in hints.items():
            origin = get_origin(hint)  # ``__required_keys__`` sees no string annotations
            required = origin is not typing.NotRequired and (
                origin is typing.Required or name in cls.__required_keys__
            )
            yield Field(name, type_of(hint), MISSING, None, required, name)
    else:
        import msgspec

        for info in msgspec.structs.fields(cls):
            yield made(info, msgspec.NODEFAULT, info.encode_name)
