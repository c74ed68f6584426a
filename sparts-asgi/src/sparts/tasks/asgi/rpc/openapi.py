"""OpenAPI 3.1 of the methods (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from sparts.rpc.errors import (
    DeadlineExceededError,
    InternalError,
    InvalidArgumentsError,
    UnavailableError,
)
from sparts.rpc.types import MISSING, Kind
from sparts.rpc.unions import TAG, needs_tag
from sparts.tasks.asgi.rpc.problems import CONTENT_TYPE, describe, status_of
from sparts.tasks.asgi.rpc.routes import SIMPLE

if TYPE_CHECKING:
    from sparts.rpc.interface import Method, Parameter
    from sparts.rpc.types import Field, Type
    from sparts.vservice import VService

PROBLEM = {
    "type": "object",
    "description": "What is wrong (RFC 9457).",
    "properties": {
        "title": {"type": "string", "description": "The name of the error."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "Its message."},
        "id": {"type": "string", "description": "What the server's log has it under."},
        "reason": {"type": "string"},
        "retry_after": {"type": "number", "description": "Seconds."},
    },
    "required": ["title", "status"],
}
_TEXTS = {
    401: "It is not known who calls.",
    403: "The caller may not do that.",
    413: "The body is too long.",
    415: "The body is not application/json.",
    429: "The caller has called too often.",
}
_DECIMAL = r"^-?[0-9]{1,30}(\.[0-9]{1,30})?$"
_DURATION = r"^-?P([0-9]{1,6}D|T[0-9]{1,6}(\.[0-9]{1,6})?S|[0-9]{1,6}DT[0-9]{1,6}(\.[0-9]{1,6})?S)$"
_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_INT64 = {"type": "integer", "format": "int64"}


def openapi(service: VService, routes: Mapping[str, Any], root: str = "") -> dict[str, Any]:
    """Return the document of some methods.

    Args:
        service: whose name and version it has.
        routes: the methods by their paths.
        root: what is before the paths, such as ``/v1``.
    """
    schemas = Schemas()
    paths: dict[str, Any] = {}
    tags: dict[str, dict[str, str]] = {}
    for path, route in routes.items():
        method = route.method
        tags.setdefault(method.interface, {"name": method.interface})
        if doc := inspect.getdoc(type(route.served.task)):
            tags[method.interface]["description"] = doc
        paths[path] = {"post": _operation(schemas, method, "post")}
        if method.idempotent:
            paths[path]["get"] = _operation(schemas, method, "get")
    return {
        "openapi": "3.1.0",
        "info": {"title": service.name, "version": str(service.VERSION or "0")},
        "servers": [{"url": root or "/"}],
        "tags": list(tags.values()),
        "paths": paths,
        "components": {"schemas": {"Problem": PROBLEM, **schemas.found}},
    }


def _operation(schemas: Schemas, method: Method, verb: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{verb}_{method.interface}_{method.name}",
        "tags": [method.interface],
        "summary": method.doc.partition("\n")[0] or method.qualified,
        "responses": _responses(schemas, method),
    }
    if method.doc:
        operation["description"] = method.doc
    if verb == "get":
        operation["parameters"] = [_query(schemas, each) for each in method.parameters]
    else:
        required = [each.name for each in method.parameters if each.required]
        schema = _object(
            {each.name: _argument(schemas, each) for each in method.parameters}, required
        )
        schema["additionalProperties"] = False
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    return operation


def _argument(schemas: Schemas, parameter: Parameter) -> dict[str, Any]:
    schema = schemas.of(parameter.type)
    if parameter.is_stream:
        return {"type": "array", "items": schema}
    return _with_default(schema, parameter.default)


def _query(schemas: Schemas, parameter: Parameter) -> dict[str, Any]:
    inner = parameter.type.args[0] if parameter.type.kind is Kind.OPTIONAL else parameter.type
    found: dict[str, Any] = {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
    }
    if inner.kind in SIMPLE:
        none = parameter.default is None
        found["schema"] = _with_default(schemas.of(inner), MISSING if none else parameter.default)
    else:
        found["content"] = {"application/json": {"schema": _argument(schemas, parameter)}}
    return found


def _responses(schemas: Schemas, method: Method) -> dict[str, Any]:
    result = schemas.of(method.result)
    if method.streams:
        text = "The items, one a line."
        content: Any = {"application/jsonl": {"schema": {"type": "string"}}}
        content["text/event-stream"] = {"schema": {"type": "string"}}
    else:
        text, content = "The result.", {"application/json": {"schema": result}}
    found: dict[str, Any] = {"200": {"description": text, "content": content}}
    standard = (InvalidArgumentsError, InternalError, UnavailableError, DeadlineExceededError)
    texts: dict[int, list[str]] = {status: [text] for status, text in _TEXTS.items()}
    for each in (*standard, *method.errors.values()):
        texts.setdefault(status_of(each), []).append(f"{each.__name__}: {describe(each)}")
    for status, lines in sorted(texts.items()):
        schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
        plain = {"text/plain": {"schema": {"type": "string"}}} if status in _TEXTS else {}
        found[str(status)] = {
            "description": "\n\n".join(lines),
            "content": {CONTENT_TYPE.decode(): schema, **plain},
        }
    return found


def _object(properties: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    if names := list(required):
        found["required"] = names
    return found


def _with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    if default is MISSING:
        return schema
    try:
        value = msgspec.to_builtins(default)
    except TypeError:
        return schema
    return (
        {"anyOf": [schema], "default": value} if "$ref" in schema else {**schema, "default": value}
    )


class Schemas:
    """JSON Schemas of types; structs and enums are in `found`, by name."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._names: dict[Any, str] = {}

    def of(self, type_: Type) -> dict[str, Any]:
        """Return the schema of a type."""
        match type_.kind:
            case Kind.STRUCT | Kind.ENUM:
                return self._named(type_)
            case Kind.OPTIONAL:
                return {"anyOf": [self.of(type_.args[0]), {"type": "null"}]}
            case Kind.UNION:
                return self._union(type_)
            case Kind.TUPLE:
                items = [self.of(each) for each in type_.args]
                n = len(items)
                return {
                    "type": "array",
                    "prefixItems": items,
                    "items": False,
                    "minItems": n,
                    "maxItems": n,
                }
            case Kind.LIST | Kind.SET:
                return self._plain(type_, {"type": "array", "items": self.of(type_.args[0])})
            case Kind.DICT:
                keys, values = (self.of(each) for each in type_.args)
                found = {"type": "object", "additionalProperties": values}
                if type_.args[0].kind not in (Kind.STR, Kind.ANY):
                    found["propertyNames"] = _as_key(keys, type_.args[0])
                return self._plain(type_, found)
            case Kind.INT:
                low, high = type_.bounds
                return {**_INT64, "minimum": low, "maximum": high}
            case Kind.DECIMAL:
                return {"type": "string", "format": "decimal", "pattern": _DECIMAL}
            case Kind.DATETIME:
                return {"type": "string", "format": "date-time"}
            case Kind.TIMEDELTA:
                return {"type": "string", "pattern": _DURATION}
            case Kind.BYTES:
                return self._plain(type_, {"pattern": _BASE64})
            case Kind.ANY:
                return {}
        return self._plain(type_, {})

    @staticmethod
    def _plain(type_: Type, schema: dict[str, Any]) -> dict[str, Any]:
        """Return a schema with what ``msgspec.Meta`` says of a type."""
        if type_.kind in (Kind.LIST, Kind.SET, Kind.DICT):
            notes = getattr(type_.annotation, "__metadata__", ())
            names = {"min_length": "min", "max_length": "max"}
            unit = "Properties" if type_.kind is Kind.DICT else "Items"
            limits = {
                short + unit: value
                for note in notes
                for name, short in names.items()
                if (value := getattr(note, name, None)) is not None
            }
            return {**schema, **limits}
        return {**msgspec.json.schema(type_.annotation), **schema}

    def _named(self, type_: Type) -> dict[str, Any]:
        name = self._names.get(type_.cls)
        if name is None:
            name = type_.cls.__name__
            number = 1
            while name in self.found or name == "Problem":
                number += 1
                name = f"{type_.cls.__name__}{number}"
            self._names[type_.cls] = name
            self.found[name] = {}
            self.found[name] = self._enum(type_) if type_.kind is Kind.ENUM else self._struct(type_)
        return {"$ref": f"#/components/schemas/{name}"}

    @staticmethod
    def _enum(type_: Type) -> dict[str, Any]:
        return {"enum": [each.value for each in type_.cls]}

    def _struct(self, type_: Type) -> dict[str, Any]:
        fields = {each.wire_name: self._field(each) for each in type_.fields}
        found = _object(fields, [each.wire_name for each in type_.fields if each.required])
        if type_.cls.__doc__ and not type_.cls.__doc__.startswith(f"{type_.cls.__name__}("):
            found["description"] = inspect.cleandoc(type_.cls.__doc__)
        config = getattr(type_.cls, "__struct_config__", None)
        if config is not None and config.tag is not None:
            found["properties"][config.tag_field] = {"const": config.tag}
            found["required"] = [config.tag_field, *found.get("required", [])]
        return found

    def _field(self, field: Field) -> dict[str, Any]:
        default = field.default
        if field.factory in (list, dict, set):
            default = field.factory()
        return _with_default(self.of(field.type), default)

    def _union(self, type_: Type) -> dict[str, Any]:
        if not needs_tag(type_):
            return {"anyOf": [self.of(each) for each in type_.args]}
        members = []
        for each in type_.args:
            schema = self.of(each)
            if each.kind is Kind.STRUCT:
                tag = _object({TAG: {"const": each.name}}, [TAG])
                schema = {"allOf": [schema, tag]}
            members.append(schema)
        return {"anyOf": members}


def _as_key(schema: dict[str, Any], type_: Type) -> dict[str, Any]:
    if type_.kind is Kind.INT:
        return {"pattern": r"^(0|-?[1-9][0-9]{0,17})$"}
    if type_.kind in (Kind.FLOAT, Kind.BOOL):
        return {}
    return schema
