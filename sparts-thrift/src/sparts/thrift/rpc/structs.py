"""Structs of thrift as Python has them: how Apache's C code makes them, and what the IDL says."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from sparts.rpc.parts import Convert, at
from sparts.rpc.types import MISSING, Field, Kind, Type

from thrift.protocol.TBase import TFrozenBase

MOST = 2**31
_GENERATED = "__create_fn__.<locals>.__init__"
"""What the code of an ``__init__`` is called that `dataclasses` has made."""


class Form(NamedTuple):
    """What a type is in thrift.

    Attributes:
        number: of `thrift.Thrift.TType`.
        held: what Apache's C code has to know beside that.
        idl: its name in the IDL.
        read: makes the value of what the C code read; None: it is the value.
        write: makes what the C code writes of the value; None: it is the value.
        has_none: whether None is one of its values; else None means that there is none.
    """

    number: int
    held: Any
    idl: str
    read: Convert | None = None
    write: Convert | None = None
    has_none: bool = False

    @property
    def write_field(self) -> Convert | None:
        """What makes what is written of the value of a field."""
        if (write := self.write) is None or self.has_none:
            return write
        return lambda value: None if value is None else write(value)

    @property
    def word(self) -> str:
        """Its name as a part of another: ``list<i64>`` is ``ListI64``."""
        parts = self.idl.replace("<", " ").replace(">", " ").replace(",", " ").split()
        return "".join(part[:1].upper() + part[1:] for part in parts)


class Member(NamedTuple):
    """A field of a struct, or a constant of an enum, in the IDL."""

    number: int
    name: str
    form: Form | None = None
    optional: bool = False


class Definition(NamedTuple):
    """What the IDL defines: ``what`` is ``struct``, ``union``, ``enum`` or ``exception``."""

    what: str
    name: str
    members: tuple[Member, ...]
    doc: str = ""


def reader(name: str, make: Callable[..., Any]) -> Any:
    """Return a class that Apache's C code makes a struct of: by keyword arguments of ``make``."""
    meta = type(f"{name}Reader", (type,), {"__call__": staticmethod(make)})
    return meta(name, (TFrozenBase,), {})


def filled(type_: Type, form: Form) -> Form | None:
    """Return the form of a struct with which Apache's C code reads it a third sooner.

    It sets the attributes of a new object, where they would be set by a generated ``__init__``, and
    does not see what is missing. None: the class has to be called.
    """
    cls, held = type_.cls, form.held
    code = getattr(getattr(cls, "__init__", None), "__code__", None)
    if (
        type_.kind is not Kind.STRUCT
        or held[1] is None  # it is not known yet
        or type(held[0]).__call__ is not cls
        or not (type_.fields and all(each.required for each in type_.fields))
        or not dataclasses.is_dataclass(cls)
        or getattr(code, "co_qualname", "") != _GENERATED
        or any(hasattr(cls, name) for name in ("__post_init__", "__getattr__"))
        or type(cls).__call__ is not type.__call__
        or (cls.__new__, cls.__setattr__) != (object.__new__, object.__setattr__)
    ):
        return None
    make = partial(object.__new__, type_.cls)
    meta = type("Meta", (type,), {"__call__": staticmethod(make)})
    return form._replace(held=[meta(type_.name, (), {}), held[1]])


def looker(paths: Iterable[str], values: str = "(values,)") -> Callable[[Any], None]:
    """Return what looks at attributes, of one object or, if ``values`` says so, of each of a list.

    It is byte code of its own, which takes a quarter of the time of `operator.attrgetter`.
    """
    lines = "".join(f"  value.{path}\n" for path in paths)
    made: dict[str, Any] = {}
    exec(f"def look(values):\n for value in {values}:\n{lines}", made)  # noqa: S102 - of names
    look: Callable[[Any], None] = made["look"]
    return look


def whole(type_: Type) -> Convert:
    """Return what sees that each struct of a list has all of its fields, and returns the list."""
    look = looker([each.name for each in type_.fields], "values")

    def see(values: list[Any]) -> list[Any]:
        try:
            look(values)
        except AttributeError as error:
            place = next(n for n, each in enumerate(values) if each is error.obj)
            text = f"Missing in {type_.name}: {error.name} - at `$[{place}]`"
            raise msgspec.ValidationError(text) from error
        return values

    return see


def spec_of(members: Iterable[Member]) -> tuple[Any, ...]:
    """Return the ``thrift_spec`` of fields, as Apache's compiler would make it."""
    by_number = {each.number: each for each in members}
    found: list[Any] = [None] * (max(by_number, default=-1) + 1)
    for number, each in by_number.items():
        assert each.form is not None  # noqa: S101 - it is no constant
        found[number] = (number, each.form.number, each.name, each.form.held, None)
    return tuple(found)


def members_of(members: Iterable[Member]) -> tuple[Any, ...]:
    """Return what two definitions of one name must have in common."""
    return tuple((each.name, each.form and each.form.idl, each.optional) for each in members)


def numbers_of(cls: type[enum.Enum]) -> dict[enum.Enum, int]:
    """Return the numbers of the members of an enum: their values, or the order of declaration."""
    values = [each.value for each in cls]
    if all(type(value) is int and 0 <= value < MOST for value in values):
        return {each: each.value for each in cls}
    return {each: number for number, each in enumerate(cls)}


def own_doc(cls: Any) -> str:
    """Return the docstring of a class, without those that Python or a base writes."""
    text = vars(cls).get("__doc__") or ""
    return "" if text.startswith((f"{cls.__name__}(", "dict(")) else text


def is_ambiguous(struct: Type, field: Field) -> bool:
    """Return whether a field that is left out does not mean None."""
    if struct.is_typed_dict:
        return not field.required
    return not field.required and (field.default is MISSING or field.default is not None)


def write_late(writers: list[Convert], value: Any) -> Any:
    """Convert a value by what is in a list by the time that there are values."""
    return writers[0](value)


def writer(type_: Type, writes: list[tuple[str, Convert | None]]) -> Convert:
    """Return what makes an object that Apache's C code can write of a struct."""
    if type_.is_typed_dict:

        def write_dict(value: dict[str, Any]) -> SimpleNamespace:
            rows = {name: (w, value.get(name, MISSING)) for name, w in writes}
            return SimpleNamespace(
                **{name: None if v is MISSING else applied(name, w, v)
                   for name, (w, v) in rows.items()}
            )  # fmt: skip

        return write_dict

    def write(value: Any) -> SimpleNamespace:
        rows = ((name, w, getattr(value, name)) for name, w in writes)
        return SimpleNamespace(**{name: applied(name, w, v) for name, w, v in rows})

    return write


def maker(
    type_: Type, reads: list[tuple[str, Convert]], nones: dict[str, None]
) -> Callable[..., Any]:
    """Return what makes a struct of the fields that were sent."""
    cls: Any = dict if type_.is_typed_dict else type_.cls
    make: Callable[..., Any] = partial(cls, **nones) if nones else cls
    required = {each.name for each in type_.fields if each.required} - nones.keys()
    if not reads and not type_.is_typed_dict:
        return make

    def convert(**given: Any) -> Any:
        if missing := sorted(required - given.keys()):
            raise msgspec.ValidationError(f"Missing in {type_.name}: {', '.join(missing)}")
        for name, read in reads:
            if name in given:
                given[name] = applied(name, read, given[name])
        return make(**given)

    return convert


def applied(name: str, convert: Convert | None, value: Any) -> Any:
    """Convert a field; the message of an error names it."""
    if convert is None:
        return value
    return at(f".{name}", convert, value)
