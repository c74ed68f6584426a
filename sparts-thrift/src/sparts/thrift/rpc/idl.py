"""The IDL of RPC interfaces: what ``sparts rpc idl --thrift`` prints, and what servers serve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.errors import UsageError
from sparts.rpc.parts import check_parts
from sparts.rpc.types import MISSING
from sparts.thrift.rpc.forms import Forms, check_type
from sparts.thrift.rpc.messages import Messages
from sparts.thrift.rpc.names import safe
from sparts.thrift.rpc.structs import Definition

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sparts.rpc.interface import Interface, Method


def messages_of(
    interfaces: Iterable[Interface], forms: Forms | None = None
) -> dict[str, Mapping[str, Messages]]:
    """Return the messages of all methods, by the names of interface and method.

    Raises:
        UsageError: thrift cannot carry one; the message names the method, and says why.
    """
    forms = forms or Forms()
    found: dict[str, Mapping[str, Messages]] = {}
    for interface in interfaces:
        made = found[interface.name] = {}
        try:
            forms.define(Definition("service", safe(interface.name), ()), interface)
        except TypeError as error:
            raise UsageError(f"thrift cannot serve {interface.name}: {error}.") from error
        for name, method in interface.methods.items():
            check_parts(method, "thrift", check_type)
            try:
                made[name] = Messages(method, forms)
            except TypeError as error:
                raise UsageError(f"thrift cannot carry {method.qualified}, {error}.") from error
        wire = [each.name for each in made.values()]
        if len(set(wire)) < len(wire):
            raise UsageError(f"thrift cannot serve {interface.name}: two methods have one name.")
    return found


def idl(interfaces: Iterable[Interface]) -> str:
    """Return the text of a ``.thrift`` file with a service for each interface.

    Raises:
        UsageError: thrift cannot carry a method; the message says which and why.
    """
    interfaces, forms = list(interfaces), Forms()
    messages = messages_of(interfaces, forms)
    lines = ["// Made by `sparts rpc idl --thrift`. The numbers follow the order in the source."]
    for definition in forms.definitions.values():
        if definition.what == "service":
            continue
        lines += ["", *_defined(definition)]
    for interface in interfaces:
        lines += ["", *_doc(interface.doc, "")]
        lines.append(f"service {safe(interface.name)} {{")
        for each in messages[interface.name].values():
            lines += _method(each)
        lines.append("}")
    return "\n".join(lines) + "\n"


def _defined(definition: Definition) -> Iterator[str]:
    yield from _doc(definition.doc, "")
    yield f"{definition.what} {definition.name} {{"
    for each in definition.members:
        if each.form is None:
            yield f"  {each.name} = {each.number}"
        else:
            optional = "optional " if each.optional and definition.what == "struct" else ""
            yield f"  {each.number}: {optional}{each.form.idl} {each.name}"
    yield "}"


def _method(messages: Messages) -> Iterator[str]:
    yield from _doc("\n".join([messages.method.doc, *_defaults(messages.method)]), "  ")
    result = messages.result.idl if messages.result else "void"
    fields, errors = (
        ", ".join(f"{each.number}: {each.form.idl} {each.name}" for each in members if each.form)
        for members in (messages.parameters, messages.errors)
    )
    throws = f" throws ({errors})" if errors else ""
    yield f"  {result} {messages.name}({fields}){throws}"


def _defaults(method: Method) -> Iterator[str]:
    for each in method.parameters:
        if each.default is not MISSING:
            shown = getattr(each.default, "name", repr(each.default))
            yield f"{each.name}: {shown} if it is left out."


def _doc(text: str, indent: str) -> Iterator[str]:
    lines = text.strip().replace("*/", "* /").splitlines()
    if lines:
        yield f"{indent}/**"
        yield from (f"{indent} * {line.strip()}".rstrip() for line in lines)
        yield f"{indent} */"
