"""What an object offers on the bus: `dbus_method`, `dbus_property` and `dbus_signal` mark it.

    class Radio(DBusObject):
        INTERFACE = "org.example.Radio"

        @dbus_method
        def Tune(self, megahertz: float) -> bool:
            "Tune in to a station."

The annotations are Python's; `sparts.tasks.dbus.types` says what they are on the bus.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    NamedTuple,
    TypeVar,
    get_origin,
    get_type_hints,
    overload,
)

from dbus_fast import PropertyAccess
from dbus_fast.validators import is_interface_name_valid
from sparts.errors import UsageError
from sparts.tasks.dbus.types import DBusType, UnsupportedTypeError, dbus_type, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sparts.tasks.dbus.objects import ObjectTree

F = TypeVar("F", bound="Callable[..., Any]")
MEMBER_NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,254}")
EMITS = ("true", "invalidates", "const", "false")


class Argument(NamedTuple):
    """One argument of a method or signal."""

    name: str
    type: DBusType


class Mark(NamedTuple):
    """What a decorator notes on a function."""

    kind: str
    name: str
    interface: str | None
    emits: str = "true"


class Member:
    """A method or signal of an interface, as the bus sees it."""

    def __init__(self, mark: Mark, fn: Callable[..., Any], owner: type[Any]) -> None:
        self.kind = mark.kind
        self.name = mark.name
        self.attribute = fn.__name__
        self.doc = inspect.getdoc(fn) or ""
        self.is_async = inspect.iscoroutinefunction(fn)
        where = f"{owner.__name__}.{fn.__name__}"
        if not MEMBER_NAME.fullmatch(mark.name):
            raise UsageError(f"{where}: {mark.name!r} is no name for a {mark.kind} on D-Bus.")
        hints = _hints(fn, where)
        self.arguments = list(_arguments(fn, hints, where))
        self.results = list(_results(hints.get("return"), where)) if mark.kind == "method" else []
        self.single = len(self.results) == 1 and not _several(hints.get("return"))
        self.in_signature = "".join(argument.type.signature for argument in self.arguments)
        self.out_signature = "".join(result.type.signature for result in self.results)


class Property(property):
    """A property on the bus, and in Python; made by `dbus_property`."""

    kind: DBusType
    doc: str

    @property
    def mark(self) -> Mark:
        """What `dbus_details` noted, or what goes without saying."""
        getter: Any = self.fget
        noted: Mark = getter.__dict__.get("__dbus__") or Mark("property", getter.__name__, None)
        return noted

    def setter(self, fset: Callable[[Any, Any], None]) -> Property:
        """Make the property one that clients may set; setting it tells them of the change."""
        return Property(self.fget, _telling(fset, self.mark.name), self.fdel)

    @property
    def access(self) -> PropertyAccess:
        """Whether clients may read it, or set it too."""
        return PropertyAccess.READWRITE if self.fset else PropertyAccess.READ

    def bind(self, owner: type[Any]) -> None:
        """Work out the type.

        Raises:
            UsageError: D-Bus has none for it.
        """
        getter: Any = self.fget
        where = f"{owner.__name__}.{self.mark.name}"
        if inspect.iscoroutinefunction(getter):
            raise UsageError(f"{where}: a property cannot be `async`; make it a method.")
        if not MEMBER_NAME.fullmatch(self.mark.name):
            raise UsageError(f"{where}: {self.mark.name!r} is no name for a property on D-Bus.")
        hints = _hints(getter, where)
        if "return" not in hints:
            raise UsageError(f"{where}: say its type: `def {self.mark.name}(self) -> str:`.")
        self.kind = _type_of(hints["return"], where, "its type")
        self.doc = inspect.getdoc(getter) or ""


def _telling(fset: Callable[[Any, Any], None], name: str) -> Callable[[Any, Any], None]:
    @functools.wraps(fset)
    def set_and_tell(self: Any, value: Any) -> None:
        fset(self, value)
        self.properties_changed(name)

    return set_and_tell


# -- decorators ------------------------------------------------------------------------------------


@overload
def dbus_method(fn: F, /) -> F: ...
@overload
def dbus_method(*, name: str | None = ..., interface: str | None = ...) -> Callable[[F], F]: ...
def dbus_method(
    fn: F | None = None, /, *, name: str | None = None, interface: str | None = None
) -> Any:
    """Offer a method on the bus.

    A plain ``def`` runs in a thread of the task's, so that a slow one does not hold up the others;
    an ``async def`` in the event loop. What it raises reaches the caller as an error, see
    `sparts.tasks.dbus.errors.error_name`. A ``tuple[A, B]`` or a NamedTuple that it returns is
    several results.

    Args:
        fn: the method.
        name: what it is called on the bus; by default as in Python.
        interface: that of which it is part; by default the object's ``INTERFACE``.
    """

    def mark(fn: F) -> F:
        fn.__dict__["__dbus__"] = Mark("method", name or fn.__name__, interface)
        return fn

    return mark if fn is None else mark(fn)


@overload
def dbus_signal(fn: F, /) -> F: ...
@overload
def dbus_signal(*, name: str | None = ..., interface: str | None = ...) -> Callable[[F], F]: ...
def dbus_signal(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    interface: str | None = None,
) -> Any:
    """Offer a signal: to call the method sends it, from any thread. Its body is not run.

    While there is no bus, nobody hears it. The arguments are those of `dbus_method`.

    Raises:
        UnsupportedTypeError: when it is called: an argument does not fit its type.
    """

    def mark(fn: Callable[..., Any]) -> Callable[..., None]:
        noted = Mark("signal", name or fn.__name__, interface)
        signature = inspect.signature(fn)

        @functools.wraps(fn)
        def send(self: DBusObject, *args: Any, **kwargs: Any) -> None:
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            self._send_signal(fn.__name__, bound.args[1:])

        send.__dict__["__dbus__"] = noted
        return send

    return mark if fn is None else mark(fn)


def dbus_details(
    *, name: str | None = None, interface: str | None = None, emits_change: str = "true"
) -> Callable[[F], F]:
    """Say more of a property; it stands below `dbus_property`.

    Args:
        name: what it is called on the bus; by default as in Python.
        interface: that of which it is part; by default the object's ``INTERFACE``.
        emits_change: what clients are told of a change: ``"true"`` (the new value),
            ``"invalidates"`` (that there is one), ``"const"`` (it never changes) or ``"false"``.
    """
    if emits_change not in EMITS:
        raise UsageError(f"emits_change={emits_change!r}: use one of {', '.join(EMITS)}.")

    def note(fn: F) -> F:
        fn.__dict__["__dbus__"] = Mark("property", name or fn.__name__, interface, emits_change)
        return fn

    return note


if TYPE_CHECKING:
    dbus_property = property  # which is what type checkers know of setters
else:

    def dbus_property(fn: Callable[[Any], Any]) -> Property:
        """Offer a property: a getter, which may get a ``setter`` as Python's properties do.

        Getters and setters run in a thread of the task's when a client asks. After it is set, also
        in Python, ``PropertiesChanged`` tells clients; where the value changes otherwise, call
        `DBusObject.properties_changed`. `dbus_details` says more of it.
        """
        return Property(fn)


# -- interfaces ------------------------------------------------------------------------------------


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


class DBusObject:
    """Something to offer on the bus by `DBusServiceTask.export`: a base class for your own."""

    INTERFACE: ClassVar[str | None] = None
    """The D-Bus interface of the members that name none, such as ``org.example.Radio``."""

    _exports: tuple[tuple[ObjectTree, str], ...] = ()  # replaced, never changed: any thread reads

    def dbus_interface(self) -> str | None:
        """Return the interface of the members that name none; ``INTERFACE`` by default."""
        return self.INTERFACE

    def properties_changed(self, *names: str) -> None:
        """Tell clients that properties have changed, by their names on the bus; from any thread.

        The getters are called in this thread.

        Raises:
            KeyError: there is no property of that name.
        """
        for tree, path in self._exports:
            tree.properties_changed(path, self, names)

    def _send_signal(self, attribute: str, args: tuple[Any, ...]) -> None:
        for tree, path in self._exports:
            tree.send_signal(path, self, attribute, args)


def interfaces_of(thing: DBusObject) -> dict[str, Interface]:
    """Return what an object offers, by interface.

    Raises:
        UsageError: a type that D-Bus does not have, a name that is none, or no interface; the
            message names the member.
    """
    found: dict[str, Interface] = {}
    cls = type(thing)
    for attribute, value in _members(cls):
        mark: Mark = value.mark if isinstance(value, Property) else value.__dict__["__dbus__"]
        name = mark.interface or thing.dbus_interface()
        where = f"{cls.__name__}.{attribute}"
        if name is None:
            raise UsageError(f"{where} has no interface: set {cls.__name__}.INTERFACE.")
        if not is_interface_name_valid(name):
            raise UsageError(
                f"{where}: {name!r} is no name of a D-Bus interface: use org.you.Name."
            )
        if name not in found:
            own = cls.__doc__ if name == thing.dbus_interface() and "__doc__" in vars(cls) else None
            found[name] = Interface(name, inspect.cleandoc(own or ""))
        _add(found[name], mark, value, cls)
    return found


def _members(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    seen: set[str] = set()
    for base in cls.__mro__:
        for attribute, value in vars(base).items():
            if attribute not in seen:
                seen.add(attribute)
                if isinstance(value, Property) or "__dbus__" in getattr(value, "__dict__", ()):
                    yield attribute, value


def _add(interface: Interface, mark: Mark, value: Any, cls: type[Any]) -> None:
    tables: dict[str, dict[str, Any]] = {
        "method": interface.methods,
        "signal": interface.signals,
        "property": interface.properties,
    }
    table = tables[mark.kind]
    if mark.name in table:
        raise UsageError(f"{cls.__name__} has two {mark.kind}s {mark.name} in {interface.name}.")
    if isinstance(value, Property):
        value.bind(cls)
        table[mark.name] = value
    else:
        table[mark.name] = Member(mark, value, cls)


# -- annotations -----------------------------------------------------------------------------------


def _hints(fn: Callable[..., Any], where: str) -> dict[str, Any]:
    try:
        return get_type_hints(fn, include_extras=True)
    except Exception as error:  # whatever evaluating a text raises
        raise UsageError(f"{where}: its annotations cannot be understood: {error}") from error


def _type_of(annotation: Any, where: str, what: str) -> DBusType:
    try:
        return dbus_type(annotation)
    except UnsupportedTypeError as error:
        raise UsageError(f"{where}: {what}: {error}") from error


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
