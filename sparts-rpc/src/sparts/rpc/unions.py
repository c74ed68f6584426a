"""Unions of dataclasses in builtin values: a field ``type`` says which class it is; by msgspec.

msgspec itself distinguishes only its own tagged structs. What contains no such union is left to it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Union

import msgspec
from sparts.rpc.types import Kind, Type

TAG = "type"
"""The field that holds the name of the class."""

Convert = Callable[[Any], Any]


def needs_tag(type_: Type) -> bool:
    """Return whether a type is a union of structs that msgspec does not distinguish itself."""
    structs = [each.cls for each in type_.args if each.kind is Kind.STRUCT]
    if type_.kind is not Kind.UNION or len(structs) < 2:
        return False
    configs = [getattr(cls, "__struct_config__", None) for cls in structs]
    return not all(config is not None and config.tag is not None for config in configs)


def has_tag(type_: Type) -> bool:
    """Return whether values of a type may hold such a union."""
    return any(needs_tag(part) for _, part in type_.walk())


def shape_of(type_: Type, is_list: bool = False) -> tuple[Any, Convert | None]:
    """Return what msgspec has to decode, and what converts that to a value; None: nothing need."""
    if not has_tag(type_):
        return (list[type_.annotation] if is_list else type_.annotation), None  # type: ignore[name-defined]
    read = _Readers().of(type_)
    return (list[Any], _items(read)) if is_list else (Any, read)


def at(part: str, convert: Convert, value: Any) -> Any:
    """Convert a part of a value; the message of an error names it."""
    try:
        return convert(value)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{text} - at `${part}{path.rstrip('`')}`") from error


def _items(read: Convert, make: Convert = list) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise msgspec.ValidationError(f"Expected `array`, got `{_name(value)}`")
        return make(at(f"[{number}]", read, each) for number, each in enumerate(value))

    return convert


def _name(value: Any) -> str:
    names = {dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), type(value).__name__)


class _Readers:
    """Makes what converts builtin values to those of a type."""

    def __init__(self) -> None:
        self._structs: dict[Type, Convert] = {}

    def of(self, type_: Type) -> Convert:
        if not has_tag(type_):
            return lambda value: msgspec.convert(value, type_.annotation)
        args = [] if type_.kind is Kind.STRUCT else [self.of(each) for each in type_.args]
        match type_.kind:
            case Kind.LIST | Kind.SET:
                return _items(args[0], type_.cls)
            case Kind.TUPLE:
                return self._tuple(args)
            case Kind.DICT:
                return lambda value: {
                    args[0](key): at(f".{key}", args[1], each)
                    for key, each in msgspec.convert(value, dict).items()
                }
            case Kind.OPTIONAL:
                return lambda value: None if value is None else args[0](value)
            case Kind.UNION:
                return self._union(type_, args)
        return self._struct(type_)

    @staticmethod
    def _tuple(args: list[Convert]) -> Convert:
        def convert(value: Any) -> Any:
            if not isinstance(value, list | tuple) or len(value) != len(args):
                raise msgspec.ValidationError(f"Expected `array` of length {len(args)}")
            pairs = zip(args, value, strict=True)
            return tuple(at(f"[{n}]", read, each) for n, (read, each) in enumerate(pairs))

        return convert

    @staticmethod
    def _union(type_: Type, args: list[Convert]) -> Convert:
        if not needs_tag(type_):
            raise TypeError(
                f"{type_.name} mixes a union that needs a tag with one that has its own"
            )
        pairs = list(zip(type_.args, args, strict=True))
        structs = {each.name: read for each, read in pairs if each.kind is Kind.STRUCT}
        others = tuple(each.annotation for each, _ in pairs if each.kind is not Kind.STRUCT)
        known = ", ".join(structs)

        def convert(value: Any) -> Any:
            if isinstance(value, dict):
                name = value.get(TAG)
                if not isinstance(name, str) or name not in structs:
                    raise msgspec.ValidationError(f"Expected one of {known} in the field {TAG}")
                return structs[name]({key: each for key, each in value.items() if key != TAG})
            if not others:
                raise msgspec.ValidationError(f"Expected `object`, got `{_name(value)}`")
            return msgspec.convert(value, Union[others])  # noqa: UP007 - of a tuple

        return convert

    def _struct(self, type_: Type) -> Convert:
        if type_ in self._structs:
            return self._structs[type_]
        readers: dict[str, tuple[str, Convert]] = {}

        def convert(value: Any) -> Any:
            if not isinstance(value, dict):
                raise msgspec.ValidationError(f"Expected `object`, got `{_name(value)}`")
            for field in type_.fields:
                if field.required and field.wire_name not in value:
                    text = f"Object missing required field `{field.wire_name}`"
                    raise msgspec.ValidationError(text)
            given = {
                readers[key][0]: at(f".{key}", readers[key][1], each)
                for key, each in value.items()
                if key in readers
            }
            try:
                return type_.cls(**given)
            except (TypeError, ValueError) as error:
                raise msgspec.ValidationError(str(error)) from error

        self._structs[type_] = convert
        readers |= {each.wire_name: (each.name, self.of(each.type)) for each in type_.fields}
        return convert


def writer_of(type_: Type) -> Convert | None:
    """Return what converts a value to one that msgspec encodes, with tags; None: it does itself.

    Raises:
        TypeError: a dataclass in a union has a field of the tag's name.
    """
    return _Writers().of(type_) if has_tag(type_) else None


class _Writers:
    """Makes what converts values to what msgspec encodes, with tags."""

    def __init__(self) -> None:
        self._structs: dict[Type, Convert] = {}

    def of(self, type_: Type) -> Convert:
        if not has_tag(type_):
            return lambda value: value
        args = [] if type_.kind is Kind.STRUCT else [self.of(each) for each in type_.args]
        match type_.kind:
            case Kind.LIST | Kind.SET:
                return lambda values: [args[0](each) for each in values]
            case Kind.TUPLE:
                return lambda values: [w(each) for w, each in zip(args, values, strict=True)]
            case Kind.DICT:
                return lambda value: {key: args[1](each) for key, each in value.items()}
            case Kind.OPTIONAL:
                return lambda value: None if value is None else args[0](value)
            case Kind.UNION:
                return self._union(type_)
        return self._struct(type_)

    def _union(self, type_: Type) -> Convert:
        writers = {each.cls: self._struct(each) for each in type_.args if each.kind is Kind.STRUCT}
        for each in type_.args:
            if each.is_typed_dict:
                raise TypeError(
                    f"{each.name} is a TypedDict, which a union cannot distinguish from others"
                )
            if any(field.wire_name == TAG for field in each.fields):
                raise TypeError(f"{each.name} has a field {TAG!r}, which unions use for the class")

        def convert(value: Any) -> Any:
            write = writers.get(type(value))
            return value if write is None else {TAG: type(value).__name__, **write(value)}

        return convert

    def _struct(self, type_: Type) -> Convert:
        if type_ in self._structs:
            return self._structs[type_]
        writers: dict[str, tuple[str, Convert]] = {}

        def convert(value: Any) -> Any:
            if type_.is_typed_dict:
                return {key: writers[key][1](each) for key, each in value.items()}
            return {key: write(getattr(value, name)) for key, (name, write) in writers.items()}

        self._structs[type_] = convert
        writers |= {each.wire_name: (each.name, self.of(each.type)) for each in type_.fields}
        return convert
