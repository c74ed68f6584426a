"""Where the arguments of a call are wrong: they are read once more, in Python and field by field.

Apache's C code raises what a class raises, and does not know where it was.
"""

from __future__ import annotations

import dataclasses
import re
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.rpc.parts import at
from sparts.rpc.values import explain

from thrift.protocol.TBase import TFrozenBase
from thrift.Thrift import TType

if TYPE_CHECKING:
    from sparts.thrift.wire import Wire

LONGEST = 1 << 16
"""Bytes of arguments that are read once more."""
_MISSING = re.compile(r"(?:\w+\.)*(\w+)\.__init__\(\) missing .* arguments?: (.*)")
"""What Python says of a dataclass that was made without all of its fields."""
_READS = {
    TType.BOOL: "readBool", TType.I08: "readByte", TType.I16: "readI16", TType.I32: "readI32",
    TType.I64: "readI64", TType.DOUBLE: "readDouble",
}  # fmt: skip


def explain_arguments(error: Exception, wire: Wire, data: bytes, spec: Any) -> str:
    """Return what is wrong with arguments, with the path if it can be found.

    Args:
        error: what Apache's C code raised.
        wire: the protocol.
        data: the struct of the arguments.
        spec: its ``thrift_spec``.
    """
    if len(data) <= LONGEST:
        try:
            _fields(wire.reader(data), spec)
        except msgspec.ValidationError as found:
            return explain(found)
        except Exception as other:
            error.add_note(str(other))
    return explain(error)


def _fields(source: Any, spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    source.readStructBegin()
    while True:
        _, kind, number = source.readFieldBegin()
        if kind == TType.STOP:
            source.readStructEnd()
            return found
        field = spec[number] if 0 <= number < len(spec) else None
        if field is None or field[1] != kind:
            source.skip(kind)
        else:
            read = partial(_value, source, kind)
            found[field[2]] = at(f".{field[2]}", read, field[3])
        source.readFieldEnd()


def _value(source: Any, kind: int, held: Any) -> Any:
    if kind == TType.STRUCT:
        return _made(held[0], _fields(source, held[1]))
    if kind in (TType.LIST, TType.SET):
        _, count = source.readListBegin()  # a set looks the same
        read = partial(_value, source, held[0])
        items = [at(f"[{number}]", read, held[1]) for number in range(count)]
        source.readListEnd()
        return items
    if kind == TType.MAP:
        *_, count = source.readMapBegin()
        found = {}
        for _ in range(count):
            key = _value(source, held[0], held[1])
            found[key] = at(f".{key}", partial(_value, source, held[2]), held[3])
        source.readMapEnd()
        return found
    if kind == TType.STRING:
        return source.readBinary() if held == "BINARY" else source.readString()
    return getattr(source, _READS[kind])()


def _made(make: Any, fields: dict[str, Any]) -> Any:
    """Make a struct, as the C code does."""
    if not issubclass(make, TFrozenBase):
        made = make()
        for name, value in fields.items():
            setattr(made, name, value)
        if missing := [each.name for each in dataclasses.fields(made) if each.name not in fields]:
            text = f"Missing in {make.__name__}: {', '.join(missing)}"
            raise msgspec.ValidationError(text)
        return made
    try:
        return make(**fields)
    except msgspec.ValidationError:
        raise
    except (TypeError, ValueError) as error:
        text = str(error)
        if (found := _MISSING.fullmatch(text)) is not None:
            text = f"Missing in {found[1]}: {found[2]}".replace("'", "")
        raise msgspec.ValidationError(text) from error
