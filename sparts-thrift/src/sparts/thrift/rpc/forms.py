"""Types of RPC as thrift has them: what Apache's C code reads and writes, and what the IDL says.

Structs are read into the classes of the service at once: the C code calls a class that derives from
``TFrozenBase`` with the fields as keyword arguments, and here such a class makes a dataclass. What
thrift has no form for is converted: enums are numbers, unions and tuples structs, and what JSON
has as strings is a string.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any

import msgspec
from sparts.rpc.parts import (
    AS_TEXT,
    Convert,
    chosen,
    from_text,
    limits_of,
    picker,
    to_text,
    wrong,
)
from sparts.rpc.types import Kind, Type
from sparts.thrift.rpc.names import safe
from sparts.thrift.rpc.structs import (
    Definition,
    Form,
    Member,
    applied,
    filled,
    is_ambiguous,
    maker,
    members_of,
    numbers_of,
    own_doc,
    reader,
    spec_of,
    whole,
    write_late,
    writer,
)

from thrift.Thrift import TType

_INTS = ((8, TType.I08, "i8"), (16, TType.I16, "i16"), (32, TType.I32, "i32"))
_PLAIN: dict[Kind, tuple[int, Any, str]] = {
    Kind.BOOL: (TType.BOOL, None, "bool"),
    Kind.FLOAT: (TType.DOUBLE, None, "double"),
    Kind.STR: (TType.STRING, "UTF8", "string"),
    Kind.BYTES: (TType.STRING, "BINARY", "binary"),
}
_KEYS = (Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.STR, Kind.BYTES, Kind.ENUM, *AS_TEXT)
"""The kinds that may be keys of maps and items of sets; others are in lists."""


class Forms:
    """The forms of the types of one or more interfaces.

    Attributes:
        definitions: what the IDL has to define for them, by name, in an order in which each comes
            after what it is made of, as far as it does not contain itself.
    """

    def __init__(self) -> None:
        self.definitions: dict[str, Definition] = {}
        self._known: dict[Type, Form] = {}
        self._origins: dict[str, Any] = {}

    def of(self, type_: Type) -> Form:
        """Return the form of a type.

        Raises:
            TypeError: thrift cannot carry it; the message says why.
        """
        if type_ not in self._known:
            self._known[type_] = self._made(type_)
        return self._known[type_]

    def of_field(self, type_: Type, ambiguous: bool = False) -> tuple[Form, bool]:
        """Return the form of a field or parameter, and whether it is left out for None.

        Args:
            type_: its type.
            ambiguous: whether it may be left out for another reason.
        """
        if type_.kind is Kind.OPTIONAL and not ambiguous:
            return self.of(type_.args[0]), True
        if type_.kind is Kind.NONE:
            return self.of(type_), True
        return self.of(type_), ambiguous

    def define(self, definition: Definition, origin: Any) -> None:
        """Note what the IDL has to define.

        Raises:
            TypeError: something else has its name.
        """
        name = definition.name
        if self._origins.setdefault(name, origin) != origin:
            raise TypeError(f"two things would have the name {name} in the IDL")
        self.definitions[name] = definition

    # -- the kinds ---------------------------------------------------------------------------------

    def _made(self, type_: Type) -> Form:
        kind = type_.kind
        if kind in _PLAIN:
            return Form(*_PLAIN[kind], limits_of(type_))
        if kind in AS_TEXT:
            return Form(TType.STRING, "UTF8", "string", from_text(type_), to_text(type_))
        make: dict[Kind, Callable[[Type], Form]] = {
            Kind.NONE: _none, Kind.INT: _int, Kind.LIST: self._list, Kind.SET: self._list,
            Kind.TUPLE: self._tuple, Kind.DICT: self._dict, Kind.OPTIONAL: self._optional,
            Kind.UNION: self._union, Kind.STRUCT: self._struct, Kind.ENUM: self._enum,
            Kind.ANY: _any,
        }  # fmt: skip
        return make[kind](type_)

    def _list(self, type_: Type) -> Form:
        item, cls = self.of(type_.args[0]), type_.cls or list
        unique = type_.kind is Kind.SET and type_.args[0].kind in _KEYS
        number, name = (TType.SET, "set") if unique else (TType.LIST, "list")
        as_is = item.read is None and (unique or type_.kind is Kind.LIST)
        held = (item.number, item.held, as_is and cls in (tuple, frozenset))
        read = None if as_is else _items(item.read, cls)
        if cls is list and (found := filled(type_.args[0], item)) is not None:
            held, read = (item.number, found.held, False), whole(type_.args[0])
        write = _items(item.write, list) if item.write else None
        return Form(number, held, f"{name}<{item.idl}>", chosen(read, limits_of(type_)), write)

    def _dict(self, type_: Type) -> Form:
        keys, values = map(self.of, type_.args)
        if type_.args[0].kind not in _KEYS:
            return self._entries(type_, keys, values)
        held = (keys.number, keys.held, values.number, values.held, False)
        read = _entries(keys.read, values.read) if keys.read or values.read else None
        write = _entries(keys.write, values.write) if keys.write or values.write else None
        idl = f"map<{keys.idl},{values.idl}>"
        return Form(TType.MAP, held, idl, chosen(read, limits_of(type_)), write)

    def _entries(self, type_: Type, keys: Form, values: Form) -> Form:
        """Return the form of a dict whose keys cannot be those of a map: a list of entries."""
        fields = (("key", type_.args[0]), ("value", type_.args[1]))
        entry = self._generated(f"Entry{keys.word}{values.word}", fields, lambda pair: pair)
        items, one = entry.read, entry.write
        held = (entry.number, entry.held, False)
        assert items is not None  # noqa: S101 - `_generated` makes both
        assert one is not None  # noqa: S101 - it is made by then

        def write(value: dict[Any, Any]) -> list[Any]:
            return [one(pair) for pair in value.items()]

        return Form(TType.LIST, held, f"list<{entry.idl}>", lambda v: dict(map(items, v)), write)

    def _tuple(self, type_: Type) -> Form:
        fields = [(f"item{number}", each) for number, each in enumerate(type_.args, 1)]
        words = "".join(self.of(each).word for each in type_.args)
        return self._generated(f"Tuple{words}", fields, lambda values: values)

    def _optional(self, type_: Type) -> Form:
        word = self.of(type_.args[0]).word
        form = self._generated(f"Optional{word}", [("value", type_)], lambda value: (value,))
        read = form.read
        assert read is not None  # noqa: S101 - `_generated` makes it
        return form._replace(read=lambda value: read(value)[0], has_none=True)

    def _generated(
        self, name: str, fields: Iterable[tuple[str, Type]], values: Callable[[Any], Any]
    ) -> Form:
        """Return the form of a struct that is not one in Python; a tuple of its fields is.

        Args:
            name: its name.
            fields: the names and types of its fields.
            values: gives the values of the fields of a Python value.
        """
        known = [(field, *self.of_field(type_)) for field, type_ in fields]
        members = tuple(Member(n, *each) for n, each in enumerate(known, 1))
        self.define(Definition("struct", name, members), members_of(members))
        names = [field for field, *_ in known]
        nones = {field for field, _, optional in known if optional}
        reads = [form.read for _, form, _ in known]
        writes = [form.write_field for _, form, _ in known]

        def read(given: dict[str, Any]) -> tuple[Any, ...]:
            for field in names:
                if field not in given and field not in nones:
                    raise msgspec.ValidationError(f"Missing in {name}: {field}")
            pairs = zip(names, reads, strict=True)
            return tuple(
                applied(field, each, given[field]) if field in given else None
                for field, each in pairs
            )

        def write(value: Any) -> SimpleNamespace:
            found = values(value)
            if len(found) != len(names):
                raise msgspec.ValidationError(f"Expected items: {len(names)}, got {len(found)}")
            rows = zip(names, writes, found, strict=True)
            return SimpleNamespace(**{field: applied(field, w, v) for field, w, v in rows})

        return Form(TType.STRUCT, [reader(name, dict), spec_of(members)], name, read, write)

    def _union(self, type_: Type) -> Form:
        pick = picker(type_)
        forms = [self.of(each) for each in type_.args]
        name = "Or".join(form.word for form in forms)
        names = [safe(form.word[:1].lower() + form.word[1:]) for form in forms]
        members = tuple(
            Member(number, *each, True)
            for number, each in enumerate(zip(names, forms, strict=True), 1)
        )
        self.define(Definition("union", name, members), members_of(members))
        reads = {field: form.read for field, form in zip(names, forms, strict=True)}

        def make(**given: Any) -> Any:
            if len(given) != 1:
                raise msgspec.ValidationError(f"One of {', '.join(names)} is needed")
            ((field, value),) = given.items()
            return applied(field, reads[field], value)

        nothing = dict.fromkeys(names)

        def write(value: Any) -> SimpleNamespace:
            number = pick(value)
            form = forms[number]
            written = value if form.write is None else form.write(value)
            return SimpleNamespace(**(nothing | {names[number]: written}))

        return Form(TType.STRUCT, [reader(name, make), spec_of(members)], name, None, write)

    def _enum(self, type_: Type) -> Form:
        cls: type[enum.Enum] = type_.cls
        numbers = numbers_of(cls)
        members = tuple(Member(number, safe(each.name)) for each, number in numbers.items())
        self.define(Definition("enum", safe(type_.name), members, own_doc(cls)), cls)
        by_number = {number: each for each, number in numbers.items()}

        def read(number: int) -> enum.Enum:
            if number not in by_number:
                raise msgspec.ValidationError(
                    f"No member of {cls.__name__} has the number {number}"
                )
            return by_number[number]

        def write(value: Any) -> int:
            if value not in numbers:
                raise wrong(cls.__name__, value)
            return numbers[value]

        return Form(TType.I32, None, safe(type_.name), read, write)

    def _struct(self, type_: Type) -> Form:
        held: list[Any] = [None, None]  # filled below: it may contain itself
        write = None if _is_written_as_is(type_, set()) else partial(write_late, held_write := [])
        form = self._known[type_] = Form(TType.STRUCT, held, safe(type_.name), None, write)
        known = [(each, *self.of_field(each.type, is_ambiguous(type_, each)))
                 for each in type_.fields]  # fmt: skip
        members = tuple(
            Member(n, each.name, found, optional or not each.required)
            for n, (each, found, optional) in enumerate(known, 1)
        )
        reads = [(each.name, found.read) for each, found, _ in known if found.read]
        nones = {each.name: None for each, _, optional in known if optional and each.required}
        held[:] = [reader(type_.name, maker(type_, reads, nones)), spec_of(members)]
        if write is not None:
            held_write.append(
                writer(type_, [(each.name, found.write_field) for each, found, _ in known])
            )
        named = tuple(each._replace(name=safe(each.name)) for each in members)
        self.define(Definition("struct", safe(type_.name), named, own_doc(type_.cls)), type_.cls)
        return form


def check_type(type_: Type) -> None:
    """Raise TypeError if thrift cannot carry a type, without what that is made of."""
    match type_.kind:
        case Kind.INT:
            _int(type_)
        case Kind.UNION:
            picker(type_)
        case Kind.STRUCT:
            for name in (type_.name, *(each.name for each in type_.fields)):
                safe(name)
        case Kind.ENUM:
            for name in (type_.name, *(each.name for each in type_.cls)):
                safe(name)


def _is_written_as_is(type_: Type, seen: set[Type]) -> bool:
    """Return whether Apache's C code can write the Python values of a type."""
    kind = type_.kind
    if kind is Kind.STRUCT:
        if type_.is_typed_dict:
            return False
        if type_ not in seen:
            seen.add(type_)
            for each in type_.fields:
                part = each.type
                if part.kind is Kind.OPTIONAL and not is_ambiguous(type_, each):
                    part = part.args[0]
                if not _is_written_as_is(part, seen):
                    return False
        return True
    if kind is Kind.DICT and type_.args[0].kind not in _KEYS:
        return False
    plain = kind in _PLAIN or kind in (Kind.INT, Kind.LIST, Kind.SET, Kind.DICT)
    return plain and all(_is_written_as_is(each, seen) for each in type_.args)


def _items(convert: Convert | None, make: Callable[[Any], Any]) -> Convert:
    if convert is None:
        return make
    return lambda values: make([convert(each) for each in values])


def _entries(keys: Convert | None, values: Convert | None) -> Convert:
    k, v = keys or _same, values or _same
    return lambda value: {k(key): v(each) for key, each in value.items()}


def _same(value: Any) -> Any:
    return value


def _none(type_: Type) -> Form:
    return Form(TType.BOOL, None, "bool", lambda _: None, _no_value)


def _no_value(value: Any) -> bool:
    if value is not None:
        raise wrong("None", value)
    return False


def _int(type_: Type) -> Form:
    low, high = type_.bounds
    if low < -(2**63) or high >= 2**63:
        raise TypeError("it has no ints beyond 64 bits, of which one is the sign")
    for bits, number, name in _INTS:
        if low >= -(2 ** (bits - 1)) and high < 2 ** (bits - 1):
            return Form(number, None, name, limits_of(type_))
    return Form(TType.I64, None, "i64", limits_of(type_))


def _any(type_: Type) -> Form:
    return Form(
        TType.STRING, "UTF8", "string", msgspec.json.decode,
        lambda value: msgspec.json.encode(value).decode(), has_none=True,
    )  # fmt: skip
