"""The messages of one method: its arguments and results to what Apache's C code writes, and back.

The struct of the arguments has a field 0, which no IDL can name: it holds what a client of ours
says of its call, the seconds that it waits and the headers of plugins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sparts.rpc.errors import InternalError, InvalidArgumentsError
from sparts.rpc.parts import at, default_of
from sparts.rpc.types import Kind, Type
from sparts.rpc.values import PLAIN, explain
from sparts.thrift.processor import light
from sparts.thrift.rpc.names import safe
from sparts.thrift.rpc.structs import (
    Definition,
    Form,
    Member,
    applied,
    filled,
    looker,
    reader,
    spec_of,
)

from thrift.Thrift import TType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sparts.rpc.interface import Method
    from sparts.thrift.rpc.forms import Forms

CONTEXT = "0"
"""The attribute of arguments that holds the context."""
_TEXTS = (TType.STRING, "UTF8", TType.STRING, "UTF8", False)
_CONTEXT = Member(
    0,
    CONTEXT,
    Form(
        TType.STRUCT,
        [
            reader("Context", lambda left=None, headers=None: (left, headers or {})),
            (
                None,
                (1, TType.DOUBLE, "left", None, None),
                (
                    2,
                    TType.MAP,
                    "headers",
                    (TType.STRING, "UTF8", TType.STRING, "UTF8", False),
                    None,
                ),
            ),
        ],
        "",
    ),
)
_MESSAGE = Member(1, "message", Form(TType.STRING, "UTF8", "string"))


class NotWrittenError(Exception):
    """A result that is not of its type."""


class Messages:
    """What is sent for one method.

    Args:
        method: the method.
        forms: the forms of its interface.

    Attributes:
        name: its name in messages and in the IDL.
        parameters: the fields of its arguments, as the IDL has them.
        result: the form of its result; None: it is ``void``.
        errors: the fields of its errors.

    Raises:
        TypeError: thrift cannot carry a type; the message says where and why.
    """

    def __init__(self, method: Method, forms: Forms) -> None:
        self.method: Method = method
        self.name: str = safe(method.name)
        fields = []
        for number, each in enumerate(method.parameters, 1):
            listed = _listed(each.type, each.is_stream)
            ambiguous = not each.required and each.default is not None
            fields.append((number, each.name, *at_path(forms, listed, each.name, ambiguous)))
        self.parameters: tuple[Member, ...] = tuple(
            Member(number, safe(name), form, optional) for number, name, form, optional in fields
        )
        self.result: Form | None = None
        if method.result.kind is not Kind.NONE or method.streams:
            self.result = at_path(forms, _listed(method.result, method.streams), "result", True)[0]
        self.errors: tuple[Any, ...] = tuple(self._errors(forms))
        plain = not any(form.read for *_, form, _ in fields) and all(
            each.required or isinstance(each.default, PLAIN) for each in method.parameters
        )
        looked: list[str] = []
        for place, each in enumerate(method.parameters if plain else ()):
            number, name, form, optional = fields[place]
            found = filled(each.type, form) if each.required and not each.is_stream else None
            if found is not None:
                fields[place] = number, name, found, optional
                looked += [f"{name}.{field.name}" for field in each.type.fields]
        self.look: Callable[[Any], Any] | None = looker(looked) if looked else None
        """Raises AttributeError if a struct in arguments that were read lacks a field."""
        members = [Member(number, name, form) for number, name, form, _ in fields]
        self.arguments_spec: tuple[Any, ...] = spec_of([_CONTEXT, *members])
        success = [Member(0, "success", self.result)] if self.result else []
        self.result_spec: tuple[Any, ...] = spec_of([*success, *self.errors])
        self.new_arguments: Callable[[], Any]
        self.arguments_held: Any
        self.new_result: Callable[[], Any]
        self.result_held: Any
        self.new_arguments, self.arguments_held = light(object, self.arguments_spec)
        self.new_result, self.result_held = light(object, self.result_spec)
        self._reads = [
            (each.name, form.read, default_of(each))
            for each, (*_, form, _) in zip(method.parameters, fields, strict=True)
        ]
        self._pick = _picker([each.name for each in members])
        self.values: Callable[[Any], Sequence[Any]] = self._read
        """Returns the values of all parameters of a struct that was read, defaults included.

        Raises:
            InvalidArgumentsError, AttributeError: one is missing, or not of its type.
        """
        if plain:
            self.values = self._pick
            for each in method.parameters:
                if not each.required:
                    setattr(self.new_arguments, each.name, each.default)
                elif each.type.kind is not Kind.OPTIONAL:
                    delattr(self.new_arguments, each.name)  # so that the lack of it is noticed
        self._writes = [(name, form.write_field) for _, name, form, _ in fields]

    def _errors(self, forms: Forms) -> Any:
        taken = {"success"}
        for number, (name, cls) in enumerate(self.method.errors.items(), 1):
            forms.define(Definition("exception", safe(name), (_MESSAGE,), cls.__doc__ or ""), cls)
            held = [reader(name, lambda message="": message), spec_of([_MESSAGE])]
            field = safe(name[:1].lower() + name[1:])
            while field in taken:
                field += "_"
            taken.add(field)
            yield Member(number, field, Form(TType.STRUCT, held, safe(name)))

    # -- the client --------------------------------------------------------------------------------

    def arguments(
        self, values: Sequence[Any], left: float | None, headers: Mapping[str, str]
    ) -> Any:
        """Return the struct of the arguments of a call, to be written.

        Raises:
            Exception: a value is not of its type.
        """
        written = {
            name: applied(name, write, value)
            for (name, write), value in zip(self._writes, values, strict=True)
        }
        if left is not None or headers:
            written[CONTEXT] = SimpleNamespace(left=left, headers=dict(headers) or None)
        else:
            written[CONTEXT] = None
        return SimpleNamespace(**written)

    def returned(self, result: Any) -> Any:
        """Return the result that a struct holds, or raise the error.

        Raises:
            InternalError: it holds neither.
        """
        for name, field in zip(self.method.errors, self.errors, strict=True):
            if (message := getattr(result, field.name)) is not None:
                raise self.method.error(name, message)
        if self.result is None:
            return None
        value = result.success
        if value is None:
            raise InternalError(f"{self.method.qualified} has returned nothing")
        return value if self.result.read is None else at(".result", self.result.read, value)

    # -- the server --------------------------------------------------------------------------------

    def _read(self, arguments: Any) -> Sequence[Any]:
        try:
            return [
                absent() if each is None else applied(name, read, each)
                for each, (name, read, absent) in zip(
                    self._pick(arguments), self._reads, strict=True
                )
            ]
        except (ValueError, TypeError) as error:
            raise InvalidArgumentsError(explain(error)) from error

    def success(self, value: Any) -> Any:
        """Return the struct of a result, to be written.

        Raises:
            NotWrittenError: it is not of its type.
        """
        result = self.new_result()
        if (form := self.result) is not None:
            try:
                result.success = value if form.write is None else form.write(value)
            except Exception as error:
                raise NotWrittenError(explain(error)) from error
        elif value is not None:
            raise NotWrittenError(f"expected None, got {type(value).__name__}")
        return result

    def failure(self, name: str, message: str) -> Any:
        """Return the struct that says that the method has raised an error that it declares."""
        result = self.new_result()
        numbers = dict(zip(self.method.errors, self.errors, strict=True))
        setattr(result, numbers[name].name, SimpleNamespace(message=message))
        return result


def at_path(forms: Forms, type_: Type, path: str, ambiguous: bool) -> tuple[Form, bool]:
    """Return the form of a parameter or result.

    Raises:
        TypeError: thrift cannot carry it; the message says which and why.
    """
    try:
        return forms.of_field(type_, ambiguous)
    except TypeError as error:
        raise TypeError(f"{path}: {type_.name}: {error}") from error


def _listed(type_: Type, is_list: bool) -> Type:
    return Type(Kind.LIST, list[type_.annotation], (type_,), list) if is_list else type_  # type: ignore[name-defined]


def _picker(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return what gives the attributes of some names, as a tuple."""
    if not names:
        return lambda arguments: ()
    if len(names) == 1:
        (name,) = names
        get = attrgetter(name)
        return lambda arguments: (get(arguments),)
    return attrgetter(*names)
