"""What RPC's types and methods are in protobuf: a file of messages and services, made at run time.

| type | field |
|---|---|
| bool, float, str, bytes | bool, double, string, bytes |
| int | int64; uint64 if its bounds need it |
| list, set, ``tuple[T, ...]`` | repeated |
| tuple | a message with ``item_1``, ``item_2`` and so on |
| dict | map; other keys than int, str and bool: repeated messages with ``key`` and ``value`` |
| dataclass, Struct, TypedDict | a message with their fields, numbered in the order of declaration |
| enum | an enum, numbered from 1 in the order of declaration; 0 means nothing |
| Optional | ``optional``; of a list, a set or a dict: a message that holds it |
| union | a message with a oneof |
| datetime, date, timedelta, UUID, Decimal | string: ISO 8601, and as Python writes them |
| Any | string: JSON |

The request of a method has a field for each parameter; of a parameter that is a stream, each
request has one item, and the first one has the other parameters. The response has ``result``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from sparts.errors import UsageError
from sparts.rpc.parts import AS_TEXT, limits_of, picker
from sparts.rpc.types import INT64, MISSING, Kind, Type
from sparts.tasks.grpc.rpc import codecs
from sparts.tasks.grpc.rpc.codecs import Codec, Column
from sparts.tasks.grpc.rpc.structures import Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparts.rpc.interface import Interface, Method

_Field = descriptor_pb2.FieldDescriptorProto
_UINT64 = (0, 2**64 - 1)
_SCALARS = {
    Kind.NONE: _Field.TYPE_BOOL,
    Kind.BOOL: _Field.TYPE_BOOL,
    Kind.FLOAT: _Field.TYPE_DOUBLE,
    Kind.STR: _Field.TYPE_STRING,
    Kind.BYTES: _Field.TYPE_BYTES,
    Kind.ANY: _Field.TYPE_STRING,
    **dict.fromkeys(AS_TEXT, _Field.TYPE_STRING),
}
_REPEATED = (Kind.LIST, Kind.SET, Kind.DICT)
_MAP_KEYS = (Kind.INT, Kind.STR, Kind.BOOL)


class Slot(NamedTuple):
    """What a single value is in protobuf: the type of the field, and what reads and writes it."""

    type: int
    type_name: str
    codec: Codec


class Messages(NamedTuple):
    """The messages of a method.

    Attributes:
        path: how HTTP/2 names the method.
        request: the class of requests.
        response: the class of responses.
        arguments: what reads and writes the parameters.
        result: what reads and writes the result, or an item of a stream; None: there is none.
    """

    path: str
    request: Any
    response: Any
    arguments: tuple[Column, ...]
    result: Column | None


def refusal(type_: Type) -> str:
    """Return why protobuf cannot carry a type, or an empty string."""
    if type_.kind is Kind.INT and _int_type(type_) is None:
        return "protobuf has no integers of more than 64 bits"
    if type_.kind is Kind.UNION:
        try:
            picker(type_)
        except TypeError as error:
            return str(error)
    names: list[str] = [field.name for field in type_.fields]
    if type_.kind is Kind.ENUM:
        names = [member.name for member in type_.cls]
    if type_.cls is not None and type_.kind in (Kind.ENUM, Kind.STRUCT):
        names.append(type_.cls.__name__)
    return _name_refusal(names)


def method_refusal(method: Method) -> str:
    """Return why protobuf cannot have a method, or an empty string."""
    return _name_refusal([method.interface, method.name, *method.names])


def _name_refusal(names: Sequence[str]) -> str:
    wrong = next((name for name in names if not name.isascii()), None)
    return f"protobuf allows ASCII alone in names, and not {wrong!r}" if wrong else ""


def _int_type(type_: Type) -> int | None:
    low, high = type_.bounds
    for (least, most), found in ((INT64, _Field.TYPE_INT64), (_UINT64, _Field.TYPE_UINT64)):
        if least <= low and high <= most:
            return int(found)
    return None


class Schema:
    """The file of an interface, and the messages of its methods.

    All names begin with that of the interface, so that files of several interfaces may be used in
    one program, although protobuf has one space of names for all.

    Args:
        interface: what is described.

    Raises:
        UsageError: protobuf cannot describe it.
    """

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        self.file: descriptor_pb2.FileDescriptorProto = descriptor_pb2.FileDescriptorProto(
            name=f"{interface.name}.proto", syntax="proto3"
        )
        self.docs: dict[str, str] = {}
        """The documentation, by the names of services, methods and messages."""
        self.pool: descriptor_pool.DescriptorPool = descriptor_pool.DescriptorPool()
        self._made: dict[str, Any] = {}  # what a message or an enum is of, by its name
        self._slots: dict[Type, Slot] = {}
        planned = [
            (method, self._request(method), self._response(method))
            for method in interface.methods.values()
        ]
        self._add_service()
        try:
            self.pool.Add(self.file)
        except TypeError as error:
            raise UsageError(
                f"{interface.name} cannot be described by protobuf: {error}"
            ) from error
        self.methods: dict[str, Messages] = {}
        """By the qualified names of the methods: ``Geo.distance``."""
        for method, (request, columns), (response, result) in planned:
            path = f"/{interface.name}/{method.name}"
            classes = self.message(request), self.message(response)
            self.methods[method.qualified] = Messages(path, *classes, columns, result)

    def message(self, name: str) -> Any:
        """Return the class of a message."""
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    # -- services ----------------------------------------------------------------------------------

    def _add_service(self) -> None:
        interface = self._interface
        service = self.file.service.add(name=interface.name)
        self.docs[interface.name] = interface.doc
        for method in interface.methods.values():
            self.docs[method.qualified] = method.doc
            service.method.add(
                name=method.name,
                input_type=f".{self._name(method.name)}Request",
                output_type=f".{self._name(method.name)}Response",
                client_streaming=method.stream_parameter is not None,
                server_streaming=method.streams,
            )

    def _request(self, method: Method) -> tuple[str, tuple[Column, ...]]:
        name = f"{self._name(method.name)}Request"
        message = self._add_message(name, method)
        columns = [
            self._column(message, each.name, each.type, each.default, each.is_stream)
            for each in method.parameters
        ]
        return name, tuple(columns)

    def _response(self, method: Method) -> tuple[str, Column | None]:
        name = f"{self._name(method.name)}Response"
        message = self._add_message(name, method)
        if method.result.kind is Kind.NONE:
            return name, None
        return name, self._column(message, "result", method.result)

    def _name(self, *parts: str) -> str:
        """Return the name of a message, an enum or a method in this file."""
        words = [word for part in parts for word in part.split("_")]
        return self._interface.name + "".join(word[:1].upper() + word[1:] for word in words)

    # -- messages ----------------------------------------------------------------------------------

    def _add_message(self, name: str, of: Any) -> Any:
        if name in self._made:
            raise UsageError(
                f"protobuf allows one message of a name, and two are named {name}: those of "
                f"{self._made[name]!r} and {of!r}. Rename one of them."
            )
        self._made[name] = of
        return self.file.message_type.add(name=name)

    def _column(
        self,
        message: Any,
        name: str,
        type_: Type,
        default: Any = MISSING,
        may_lack: bool = False,
        factory: Callable[[], Any] | None = None,
    ) -> Column:
        """Add the field of a value to a message, and return what reads and writes it.

        Args:
            message: the message.
            name: the name of the field.
            type_: the type of the value.
            default: what it is if the field is absent; MISSING: there is no default.
            may_lack: whether the value itself may be absent.
            factory: makes the default.
        """
        field = message.field.add(name=name, number=len(message.field) + 1)
        field.label = _Field.LABEL_OPTIONAL
        absent = codecs.absence(default, factory, may_lack)
        wanted = type_
        if type_.kind is Kind.OPTIONAL and (absent is None or default is None):
            wanted, absent = type_.args[0], codecs.Absence(lambda: None, is_none=True)
        if wanted.kind in _REPEATED and (absent is None or absent.is_empty):
            return self._repeated(message, field, name, wanted)
        slot = self._slot(wanted)
        _set_type(field, slot)
        has_presence = slot.type == _Field.TYPE_MESSAGE
        if absent is not None and not has_presence:
            field.proto3_optional = has_presence = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{name}")
        return codecs.single(name, slot.codec, absent, has_presence)

    def _repeated(self, message: Any, field: Any, name: str, type_: Type) -> Column:
        field.label, field.type = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE
        if type_.kind is not Kind.DICT:
            slot = self._slot(type_.args[0])
            _set_type(field, slot)
            return codecs.repeated(name, slot.codec, type_.cls, limits_of(type_))
        key, value = map(self._slot, type_.args)
        if type_.args[0].kind in _MAP_KEYS:
            entry_name = f"{''.join(map(str.title, name.split('_')))}Entry"
            field.type_name = f".{message.name}.{entry_name}"
            entry = message.nested_type.add(name=entry_name)
            entry.options.map_entry = True
            for number, (part, slot) in enumerate((("key", key), ("value", value)), 1):
                held = entry.field.add(name=part, number=number, label=_Field.LABEL_OPTIONAL)
                _set_type(held, slot)
            return codecs.mapped(name, key.codec, value.codec)
        slot = self._holder("Entry", type_.args, ("key", "value"))
        _set_type(field, slot)
        return codecs.entries(name, slot.codec)

    def _slot(self, type_: Type) -> Slot:
        """Return what a single value of a type is."""
        found = self._slots.get(type_)
        if found is None:
            found = self._slots[type_] = self._new_slot(type_)
        return found

    def _new_slot(self, type_: Type) -> Slot:
        kind = type_.kind
        if kind is Kind.INT:
            return Slot(_int_type(type_) or 0, "", codecs.integer(type_))
        if kind in _SCALARS:
            return Slot(_SCALARS[kind], "", codecs.scalar(type_))
        if kind is Kind.ENUM:
            return self._enum(type_)
        if kind is Kind.STRUCT:
            return self._struct(type_)
        if kind is Kind.UNION:
            return self._union(type_)
        if kind is Kind.TUPLE:
            names = tuple(f"item_{number}" for number in range(1, len(type_.args) + 1))
            return self._holder("Tuple", type_.args, names)
        slot = self._holder("Some", (type_,), ("value",))
        return slot._replace(codec=codecs.held(slot.codec))

    def _lazy(self, name: str) -> Callable[[], Any]:
        return cache(lambda: self.message(name))

    def _holder(self, prefix: str, types: tuple[Type, ...], names: tuple[str, ...]) -> Slot:
        """Return the slot of a message that holds a tuple of values."""
        name = self._name(f"{prefix}Of", *map(_label, types))
        if name not in self._made:
            message = self._add_message(name, types)
            columns = [self._column(message, *each) for each in zip(names, types, strict=True)]
            self._made[name] = Structure(self._lazy(name), columns, None).codec
        return Slot(_Field.TYPE_MESSAGE, f".{name}", self._made[name])

    def _struct(self, type_: Type) -> Slot:
        name = self._name(type_.cls.__name__)
        message = self._add_message(name, type_.cls)
        self.docs[name] = codecs.own_doc(type_.cls)
        columns: list[Column] = []
        codec = Structure(self._lazy(name), columns, type_).codec
        slot = self._slots[type_] = Slot(_Field.TYPE_MESSAGE, f".{name}", codec)
        columns += [
            self._column(
                message, each.name, each.type, each.default,
                type_.is_typed_dict and not each.required, each.factory,
            )
            for each in type_.fields
        ]  # fmt: skip
        return slot

    def _enum(self, type_: Type) -> Slot:
        name, members = self._name(type_.cls.__name__), list(type_.cls)
        if self._made.setdefault(name, type_.cls) is not type_.cls:
            raise UsageError(f"protobuf allows one type of a name, and two are named {name}.")
        if all(each.name != name for each in self.file.enum_type):
            enum = self.file.enum_type.add(name=name)
            self.docs[name] = codecs.own_doc(type_.cls)
            prefix = "".join(f"_{c}" if c.isupper() else c for c in name).strip("_").upper()
            for number, label in enumerate(("UNSPECIFIED", *(each.name for each in members))):
                enum.value.add(name=f"{prefix}_{label}", number=number)
        return Slot(_Field.TYPE_ENUM, f".{name}", codecs.enumerated(type_.cls, members))

    def _union(self, type_: Type) -> Slot:
        name = self._name("UnionOf", *map(_label, type_.args))
        if name not in self._made:
            message = self._add_message(name, type_)
            message.oneof_decl.add(name="value")
            columns: list[Column] = []
            self._made[name] = codecs.union(self._lazy(name), type_, columns)
            for each in type_.args:
                slot, label = self._slot(each), _label(each)
                lower = "".join(f"_{c.lower()}" if c.isupper() else c for c in label).strip("_")
                field = message.field.add(name=f"{lower}_value", number=len(message.field) + 1)
                field.label, field.oneof_index = _Field.LABEL_OPTIONAL, 0
                _set_type(field, slot)
                columns.append(codecs.single(f"{lower}_value", slot.codec, None, False))
        return Slot(_Field.TYPE_MESSAGE, f".{name}", self._made[name])


def _set_type(field: Any, slot: Slot) -> None:
    field.type = slot.type
    if slot.type_name:
        field.type_name = slot.type_name


def _label(type_: Type) -> str:
    """Return a name for a type, as part of that of a message."""
    if type_.kind in (Kind.STRUCT, Kind.ENUM):
        return str(type_.cls.__name__)
    own = "Uint" if type_.kind is Kind.INT and _int_type(type_) == _Field.TYPE_UINT64 else None
    if type_.kind is Kind.INT and type_.bounds != INT64 and own is None:
        own = f"Int{type_.bounds[0]}To{type_.bounds[1]}".replace("-", "Minus")
    name = own or str(type_.kind).title()
    if type_.kind is Kind.LIST and type_.cls is tuple:
        name = "Row"
    return name + "".join(map(_label, type_.args))
