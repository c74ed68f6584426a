"""What one method takes and gives on D-Bus, for both sides: signatures, and values to bodies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError
from sparts.rpc.parts import at, check_parts, default_of
from sparts.rpc.types import Kind, Type
from sparts.tasks.dbus.interfaces import Argument
from sparts.tasks.dbus.rpc.forms import check_type
from sparts.tasks.dbus.validity import is_member_name, is_signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.rpc.interface import Method
    from sparts.tasks.dbus.rpc.forms import Forms
    from sparts.tasks.dbus.types import DBusType

CONTEXT = "a{sv}"
"""The type of a last argument that clients of ours add, which introspection does not show:
``timeout``, the seconds that the caller waits, and ``headers``, an ``a{ss}``."""


class MethodForm:
    """A method, as the bus has it.

    Attributes:
        arguments: what it takes, for introspection.
        results: what it gives: nothing, or one result.
        in_signatures: what a call may have as its signature; the last argument is a context, and
            those before it which have defaults may be left out from the last on.

    Raises:
        TypeError: D-Bus cannot carry a type; the message says where and why.
    """

    kind = "method"
    single = True
    is_async = True

    def __init__(self, method: Method, forms: Forms) -> None:
        self.method: Method = method
        self.name: str = method.name
        self.doc: str = method.doc
        if not is_member_name(self.name):
            raise TypeError("its name can be none on D-Bus")
        self.arguments: list[Argument] = [
            Argument(each.name, _form(forms, each.type, each.is_stream, each.name))
            for each in method.parameters
        ]
        self.results: list[Argument] = []
        if method.result.kind is not Kind.NONE or method.streams:
            form = _form(forms, method.result, method.streams, "result")
            self.results.append(Argument("", form))
        signatures = [each.type.signature for each in self.arguments]
        self.in_signature: str = "".join(signatures)
        self.out_signature: str = self._out()
        self._as_is = bool(self.results) and self.results[0].type.encode is None
        if not is_signature(self.in_signature + CONTEXT):
            raise TypeError(f"{self.in_signature!r} is too long or too deep for D-Bus")
        counts = [len(signatures)]
        while counts[-1] and not method.parameters[counts[-1] - 1].required:
            counts.append(counts[-1] - 1)
        self.in_signatures: dict[str, int] = {"".join(signatures[:count]) + more: count
                              for more in (CONTEXT, "") for count in counts}  # fmt: skip
        self._reads = [(f".{each.name}", each.type.decode) for each in self.arguments]
        self._defaults = [default_of(each) for each in method.parameters]

    def _out(self) -> str:
        return self.results[0].type.signature if self.results else ""

    def values(self, body: Sequence[Any], signature: str) -> tuple[list[Any], dict[str, Any]]:
        """Return the values of all parameters that a call has, and its context.

        Raises:
            msgspec.ValidationError: one is not of its type.
        """
        context: dict[str, Any] = {}
        defaults: list[Any] = []
        if signature != self.in_signature:
            count = self.in_signatures[signature]
            if len(body) > count:
                context = {name: each.value for name, each in body[count].items()}
            defaults = [default() for default in self._defaults[count:]]
            body = body[:count]
        given = [
            value if decode is None else at(part, decode, value)
            for (part, decode), value in zip(self._reads, body, strict=False)
        ]
        return given + defaults, context

    def body(self, values: Sequence[Any]) -> list[Any]:
        """Return the body of a call.

        Raises:
            msgspec.ValidationError: a value is not of its type.
        """
        return [
            value if each.type.encode is None else at(f".{each.name}", each.type.encode, value)
            for each, value in zip(self.arguments, values, strict=True)
        ]

    def written(self, result: Any) -> list[Any]:
        """Return the body of a reply.

        Raises:
            msgspec.ValidationError: the result is not of its type.
        """
        if self._as_is:
            return [result]
        return [_applied(each.type.encode, result) for each in self.results]

    def result(self, body: Sequence[Any]) -> Any:
        """Return the result that the body of a reply has.

        Raises:
            msgspec.ValidationError: it is not of its type.
        """
        return _applied(self.results[0].type.decode, body[0]) if self.results else None


def _applied(convert: Any, value: Any) -> Any:
    return value if convert is None else at(".result", convert, value)


def _form(forms: Forms, type_: Type, is_list: bool, where: str) -> DBusType:
    if is_list:
        type_ = Type(Kind.LIST, list[type_.annotation], (type_,), list)  # type: ignore[name-defined]
    try:
        found = forms.of(type_)
    except TypeError as error:
        raise TypeError(f"{where}: {type_.name}: {error}") from error
    if not is_signature(found.signature):
        raise TypeError(f"{where}: {type_.name}: {found.signature!r} is too long or too deep")
    return found


def methods_of(interface: Any, forms: Forms) -> dict[str, MethodForm]:
    """Return the methods of an interface by name.

    Raises:
        UsageError: D-Bus cannot carry one; the message names the method, and says why.
    """
    found: dict[str, MethodForm] = {}
    for name, method in interface.methods.items():
        check_parts(method, "D-Bus", check_type)
        try:
            found[name] = MethodForm(method, forms)
        except TypeError as error:
            raise UsageError(f"D-Bus cannot carry {method.qualified}, {error}.") from error
    return found


def place_of(bus_name: str, task: str) -> tuple[str, str]:
    """Return the path and the interface under which a task is offered."""
    base = bus_name.replace("-", "_")
    return f"/{base.replace('.', '/')}/{task}", f"{base}.{task}"
