"""The interfaces of an object: what its marked members are on the bus, by their annotations."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, get_origin, get_type_hints

from sparts.errors import UsageError
from sparts.tasks.dbus.exporting import Mark, Property, explain_taken, is_member, mark_of
from sparts.tasks.dbus.types import DBusType, dbus_type, fields_of
from sparts.tasks.dbus.validity import (
    UnsupportedTypeError,
    is_interface_name,
    is_member_name,
    is_signature,
    is_single,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.tasks.dbus.exporting import DBusObject


class Argument(NamedTuple):
    """One argument of a method or signal."""

    name: str
    type: DBusType


class Member:
    """A method or signal of an interface, as the bus sees it.

    Args:
        mark: what its decorator noted.
        fn: the function that was decorated, whose annotations count.
        owner: the class of the object.
        runs: the function that runs: that of a subclass may have no decorator of its own.
    """

    def __init__(
        self, mark: Mark, fn: Callable[..., Any], owner: type[Any], runs: Callable[..., Any]
    ) -> None:
        self.kind: str = mark.kind
        self.name: str = mark.name
        self.attribute: str = fn.__name__
        self.doc: str = inspect.getdoc(fn) or ""
        self.is_async: bool = inspect.iscoroutinefunction(runs)
        where = f"{owner.__name__}.{fn.__name__}"
        if not is_member_name(mark.name):
            raise UsageError(f"{where}: {mark.name!r} is no name for a {mark.kind} on D-Bus.")
        hints = _hints(fn, where)
        self.arguments: list[Argument] = list(_arguments(fn, hints, where))
        self.results: list[Argument] = (
            list(_results(hints.get("return"), where)) if mark.kind == "method" else []
        )
        self.single: bool = len(self.results) == 1 and not _several(hints.get("return"))
        self.in_signature: str = "".join(argument.type.signature for argument in self.arguments)
        self.out_signature: str = "".join(result.type.signature for result in self.results)
        for signature in (self.in_signature, self.out_signature):
            if not is_signature(signature):
                raise UsageError(f"{where}: {signature!r} is too long or too deep for D-Bus.")


class Interface:
    """An interface of an object: its members by their names on the bus."""

    def __init__(self, name: str, doc: str) -> None:
        self.name = name
        self.doc = doc
        self.methods: dict[str, Member] = {}
        self.signals: dict[str, Member] = {}
        self.properties: dict[str, Property] = {}

    def signatures(self) -> Iterator[str]:
        """Give the signatures of everything in it."""
        for member in (*self.methods.values(), *self.signals.values()):
            yield member.in_signature + member.out_signature
        for found in self.properties.values():
            yield found.kind.signature


def interfaces_of(thing: DBusObject) -> dict[str, Interface]:
    """Return what an object offers, by interface.

    Raises:
        UsageError: a type that D-Bus does not have, a name that is none, or no interface; the
            message names the member.
    """
    found: dict[str, Interface] = {}
    cls = type(thing)
    if cls._names_taken:
        raise UsageError(" ".join(cls._names_taken))
    for attribute, value, runs in _members(cls):
        mark = mark_of(value)
        if attribute in vars(thing):
            raise UsageError(explain_taken(cls, attribute, mark))
        name = mark.interface or thing.dbus_interface()
        where = f"{cls.__name__}.{attribute}"
        if name is None:
            raise UsageError(f"{where} has no interface: set {cls.__name__}.INTERFACE.")
        if not is_interface_name(name):
            raise UsageError(
                f"{where}: {name!r} is no name of a D-Bus interface: use org.you.Name."
            )
        if name not in found:
            own = cls.__doc__ if name == thing.dbus_interface() and "__doc__" in vars(cls) else None
            found[name] = Interface(name, inspect.cleandoc(own or ""))
        _add(found[name], mark, value, cls, runs)
    return found


def _bind(found: Property, owner: type[Any]) -> None:
    """Work out the type of a property.

    Raises:
        UsageError: D-Bus has none for it.
    """
    getter: Any = found.fget
    name = found.mark.name
    where = f"{owner.__name__}.{name}"
    if inspect.iscoroutinefunction(getter):
        raise UsageError(f"{where}: a property cannot be `async`; make it a method.")
    if not is_member_name(name):
        raise UsageError(f"{where}: {name!r} is no name for a property on D-Bus.")
    hints = _hints(getter, where)
    if "return" not in hints:
        raise UsageError(f"{where}: say its type: `def {name}(self) -> str:`.")
    found.kind = _type_of(hints["return"], where, "its type")
    found.doc = inspect.getdoc(getter) or ""


def _members(cls: type[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Give the attribute of each member, what was decorated, and what a subclass made of it."""
    newest: dict[str, Any] = {}
    found: set[str] = set()
    for base in cls.__mro__:
        for attribute, value in vars(base).items():
            runs = newest.setdefault(attribute, value)
            if attribute in found or not is_member(value):
                continue
            found.add(attribute)
            if isinstance(value, Property) and isinstance(runs, property) and runs is not value:
                where = f"{cls.__name__}.{attribute}"
                raise UsageError(f"{where} overrides a property on D-Bus: use `dbus_property`.")
            if runs is value or (inspect.isfunction(runs) and not isinstance(value, Property)):
                yield attribute, value, runs


def _add(interface: Interface, mark: Mark, value: Any, cls: type[Any], runs: Any) -> None:
    tables: dict[str, dict[str, Any]] = {
        "method": interface.methods,
        "signal": interface.signals,
        "property": interface.properties,
    }
    table = tables[mark.kind]
    if mark.name in table:
        raise UsageError(f"{cls.__name__} has two {mark.kind}s {mark.name} in {interface.name}.")
    if isinstance(value, Property):
        _bind(value, cls)
        table[mark.name] = value
    else:
        table[mark.name] = Member(mark, value, cls, runs)


# -- annotations -----------------------------------------------------------------------------------


def _hints(fn: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(fn, include_extras=True)
    except Exception as error:  # whatever evaluating a string raises
        raise UsageError(f"{where}: its annotations cannot be understood: {error}") from error


def _type_of(annotation: Any, where: str, what: str) -> DBusType:
    try:
        found = dbus_type(annotation)
    except UnsupportedTypeError as error:
        raise UsageError(f"{where}: {what}: {error}") from error
    if not is_single(found.signature):
        raise UsageError(f"{where}: {what}: {found.signature!r} is too long or deep for D-Bus.")
    return found


def _arguments(fn: Callable[..., Any], hints: dict[str, Any], where: str) -> Iterator[Argument]:
    for parameter in list(inspect.signature(fn).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise UsageError(f"{where}: D-Bus knows positional arguments only, not {parameter}.")
        if parameter.name not in hints:
            raise UsageError(f"{where}: say the type of {parameter.name}: `{parameter.name}: str`.")
        found = _type_of(hints[parameter.name], where, f"the argument {parameter.name}")
        yield Argument(parameter.name, found)


def _several(annotation: Any) -> bool:
    if get_origin(annotation) is tuple:
        return Ellipsis not in annotation.__args__
    return bool(fields_of(annotation))


def _results(annotation: Any, where: str) -> Iterator[Argument]:
    if annotation is None or annotation is type(None):
        return
    if not _several(annotation):
        yield Argument("", _type_of(annotation, where, "what it returns"))
        return
    if names := fields_of(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        parts = [hints[name] for name in names]
    else:
        parts, names = list(annotation.__args__), ("",) * len(annotation.__args__)
    for name, part in zip(names, parts, strict=True):
        yield Argument(name, _type_of(part, where, "what it returns"))
