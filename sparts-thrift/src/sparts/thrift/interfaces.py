"""What the methods of a thrift service take and give: the structs, and what these are made of.

Two makes of code are understood: that of Apache's compiler (a module a service, with ``Iface``,
``echo_args``, ``echo_result``), and that of thriftpy2 (a class a service). Both are described in
the terms of Apache's library, so that its C code reads and writes the structs of either.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.errors import UsageError

from thrift.Thrift import TType

if TYPE_CHECKING:
    from sparts.thrift.services import ThriftService


class MethodSpec(NamedTuple):
    """One method of a service."""

    name: str
    parameters: tuple[str, ...]
    """The names of its parameters, in the order of the IDL."""
    arguments: Any
    """The class of the struct that holds its arguments."""
    arguments_spec: Any
    """The ``thrift_spec`` of that struct; None: it has to read itself."""
    result: Any
    """The class of the struct that holds its result; None: nobody waits for one (``oneway``)."""
    result_spec: Any
    """The ``thrift_spec`` of the result; None: it has to write itself."""
    errors: tuple[tuple[str, type[Exception]], ...]
    """The declared exceptions, each with the name of its field in the result."""
    returns: bool
    """Whether it gives a value, that is: is not ``void``."""


def describe(service: ThriftService) -> dict[str, MethodSpec]:
    """Return the methods of a service, by name, those that it inherits included.

    Raises:
        UsageError: it cannot be served.
    """
    if service.by_thriftpy2:
        return _thriftpy2_methods(service.target)
    return _apache_methods(service)


# -- Apache's make -----------------------------------------------------------------------------


def _apache_methods(service: ThriftService) -> dict[str, MethodSpec]:
    found: dict[str, MethodSpec] = {}
    for name, method in service.methods.items():
        # What it inherits has its structs in another module, which need not be imported by name.
        made = getattr(service.target.Iface, name).__globals__
        arguments, result = made[f"{name}_args"], made.get(f"{name}_result")
        described = (arguments, _apache_spec(arguments))
        given = (None, ()) if method.oneway else (result, _apache_spec(result))
        found[name] = _method(name, method.parameters, described, given)
    return found


def _apache_spec(struct: Any) -> Any:
    """Return the description of a struct, or None if it does not contain all of it.

    It does not where a field has no number in the IDL.
    """
    spec = getattr(struct, "thrift_spec", None)
    if not spec and struct is not None and set(inspect.signature(struct).parameters):
        return None
    return () if spec is None else spec


def _method(
    name: str, parameters: tuple[str, ...], arguments: tuple[Any, Any], result: tuple[Any, Any]
) -> MethodSpec:
    fields = [field for field in result[1] or () if field is not None]
    returns = result[0] is not None and (
        result[1] is None or any(field[0] == 0 for field in fields)
    )
    errors = tuple((field[2], field[3][0]) for field in fields if field[0] != 0)
    return MethodSpec(name, parameters, *arguments, *result, errors, returns)


# -- thriftpy2's make --------------------------------------------------------------------------


def _thriftpy2_methods(service: Any) -> dict[str, MethodSpec]:
    specs: dict[type, list[Any]] = {}
    found: dict[str, MethodSpec] = {}
    for name in service.thrift_services:
        arguments, result = getattr(service, f"{name}_args"), getattr(service, f"{name}_result")
        parameters = tuple(field[1] for field in arguments.thrift_spec.values())
        described = (arguments, _described(arguments, specs)[1])
        given = (None, ()) if result.oneway else (result, _described(result, specs)[1])
        found[name] = _method(name, parameters, described, given)
    return found


def _described(struct: Any, specs: dict[type, list[Any]]) -> list[Any]:
    """Return a struct of thriftpy2's with its description in Apache's terms."""
    if struct not in specs:
        specs[struct] = described = [struct, None]  # before its fields: it may hold itself
        fields: list[Any] = [None] * (max(struct.thrift_spec, default=-1) + 1)
        defaults = dict(getattr(struct, "default_spec", ()))
        for number, (kind, name, *rest) in struct.thrift_spec.items():
            if number < 0:
                raise UsageError(
                    f"The field {name} of {struct.__name__} has no number in the IDL: give it one."
                )
            kind, arguments = _typed((kind, rest[0]) if len(rest) == 2 else kind, specs)
            fields[number] = (number, kind, name, arguments, defaults.get(name))
        described[1] = tuple(fields)
    return specs[struct]


_BINARY = 18  # thriftpy2 has a type for binary; on the wire it is a string


def _typed(kind: Any, specs: dict[type, list[Any]]) -> tuple[int, Any]:
    """Return a type of thriftpy2's as Apache's number of it and what has to be known in addition.

    ``kind`` is a number, or a number and what it holds.
    """
    number, inner = kind if isinstance(kind, tuple) else (kind, None)
    match number:
        case TType.STRING:
            return TType.STRING, "UTF8"
        case _ if number == _BINARY:
            return TType.STRING, "BINARY"
        case TType.STRUCT:
            return number, _described(inner, specs)
        case TType.LIST | TType.SET:
            return number, (*_typed(inner, specs), False)
        case TType.MAP:
            return number, (*_typed(inner[0], specs), *_typed(inner[1], specs), False)
    return number, None
