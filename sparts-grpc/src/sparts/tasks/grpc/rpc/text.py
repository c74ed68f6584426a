"""The text of a ``.proto`` file, as a `Schema` describes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2
from sparts.tasks.grpc.rpc.schema import Schema

if TYPE_CHECKING:
    from sparts.rpc.interface import Interface

_Field = descriptor_pb2.FieldDescriptorProto
_NAMES = {
    _Field.TYPE_BOOL: "bool",
    _Field.TYPE_BYTES: "bytes",
    _Field.TYPE_DOUBLE: "double",
    _Field.TYPE_INT64: "int64",
    _Field.TYPE_STRING: "string",
    _Field.TYPE_UINT64: "uint64",
}


def proto_of(interfaces: Sequence[Interface]) -> str:
    """Return the text of the file from which other languages generate clients.

    Raises:
        UsageError: protobuf cannot describe the interfaces.
    """
    blocks: list[Iterable[str]] = []
    for schema in map(Schema, interfaces):
        blocks += [_service(schema, each) for each in schema.file.service]
        blocks += [_message(schema, each) for each in schema.file.message_type]
        blocks += [_enum(schema, each) for each in schema.file.enum_type]
    return "\n\n".join(['syntax = "proto3";', *("\n".join(lines) for lines in blocks)]) + "\n"


def _comment(text: str, indent: str = "") -> Iterator[str]:
    for line in text.splitlines():
        yield f"{indent}// {line}".rstrip()


def _service(schema: Schema, service: Any) -> Iterator[str]:
    yield from _comment(schema.docs[service.name])
    yield f"service {service.name} {{"
    for method in service.method:
        yield from _comment(schema.docs[f"{service.name}.{method.name}"], "  ")
        request, response = (
            ("stream " if streams else "") + name.lstrip(".")
            for streams, name in (
                (method.client_streaming, method.input_type),
                (method.server_streaming, method.output_type),
            )
        )
        yield f"  rpc {method.name}({request}) returns ({response});"
    yield "}"


def _message(schema: Schema, message: Any) -> Iterable[str]:
    yield from _comment(schema.docs.get(message.name, ""))
    yield f"message {message.name} {{"
    entries = {f".{message.name}.{each.name}": each for each in message.nested_type}
    is_union = any(not each.name.startswith("_") for each in message.oneof_decl)
    indent = "    " if is_union else "  "
    if is_union:
        yield "  oneof value {"
    for field in message.field:
        entry = entries.get(field.type_name)
        if entry is not None:
            key, value = map(_type, entry.field)
            shown = f"map<{key}, {value}>"
        elif field.label == _Field.LABEL_REPEATED:
            shown = f"repeated {_type(field)}"
        else:
            shown = f"optional {_type(field)}" if field.proto3_optional else _type(field)
        yield f"{indent}{shown} {field.name} = {field.number};"
    if is_union:
        yield "  }"
    yield "}"


def _type(field: Any) -> str:
    return _NAMES.get(field.type) or str(field.type_name).lstrip(".")


def _enum(schema: Schema, enum: Any) -> Iterator[str]:
    yield from _comment(schema.docs[enum.name])
    yield f"enum {enum.name} {{"
    for value in enum.value:
        yield f"  {value.name} = {value.number};"
    yield "}"
