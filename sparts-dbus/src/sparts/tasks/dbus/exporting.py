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
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    NamedTuple,
    Protocol,
    TypeVar,
    overload,
)

from dbus_fast import PropertyAccess
from sparts.errors import UsageError
from sparts.net.names import claim, ours_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sparts.tasks.dbus.types import DBusType

F = TypeVar("F", bound="Callable[..., Any]")
EMITS = ("true", "invalidates", "const", "false")


class Mark(NamedTuple):
    """What a decorator notes on a function."""

    kind: str
    name: str
    interface: str | None
    emits: str = "true"


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
        """Make the property one that clients may set; setting it sends them the change."""
        return Property(self.fget, _telling(fset, self.mark.name), self.fdel)

    @property
    def access(self) -> PropertyAccess:
        """Whether clients may read it, or set it too."""
        return PropertyAccess.READWRITE if self.fset else PropertyAccess.READ


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
        emits_change: what clients receive at a change: ``"true"`` (the new value),
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
        in Python, clients receive ``PropertiesChanged``; where the value changes otherwise, call
        `DBusObject.properties_changed`. `dbus_details` says more of it.
        """
        return Property(fn)


def is_member(value: Any) -> bool:
    """Return whether a value in a class is offered on the bus."""
    return isinstance(value, Property) or "__dbus__" in getattr(value, "__dict__", ())


def mark_of(value: Any) -> Mark:
    """Return what is noted on a member."""
    mark: Mark = value.mark if isinstance(value, Property) else value.__dict__["__dbus__"]
    return mark


def explain_taken(cls: type[Any], attribute: str, mark: Mark) -> str:
    """Return what to do about a member whose name in Python is not free."""
    how = "@dbus_details" if mark.kind == "property" else f"@dbus_{mark.kind}"
    return (
        f"{cls.__name__}.{attribute}: the name means something else to sparts, or to Python. "
        f"Call it on_{attribute}, and mark it by {how}(name={mark.name!r})."
    )


def _claim_members(cls: type[Any]) -> tuple[str, ...]:
    """Set aside members of a new class that have names of sparts; return what is wrong with each.

    A member takes the place of one of ours that has its name.
    """
    ours = ours_of(cls).__mro__
    found = {name: each for base in cls.__mro__ if base not in ours
             for name, each in vars(base).items() if is_member(each)}  # fmt: skip
    texts = {name: explain_taken(cls, name, mark_of(each)) for name, each in found.items()}
    free = [name for base in ours for name, each in vars(base).items() if is_member(each)]
    return tuple(texts[name] for name in claim(cls, found, texts.__getitem__, is_member, free=free))


class Exporter(Protocol):
    """Where an object is exported: it sends the signals of the object."""

    def send_signal(
        self, path: str, thing: DBusObject, attribute: str, args: Sequence[Any]
    ) -> None:
        """Send the signal of an object at a path."""

    def properties_changed(self, path: str, thing: DBusObject, names: Sequence[str]) -> None:
        """Report changed properties of an object at a path."""


class DBusObject:
    """Something to offer on the bus by `DBusServiceTask.export`: a base class for your own."""

    INTERFACE: ClassVar[str | None] = None
    """The D-Bus interface of the members that name none, such as ``org.example.Radio``."""

    _exports: tuple[tuple[Exporter, str], ...] = ()  # replaced, never changed: any thread reads
    _names_taken: ClassVar[tuple[str, ...]] = ()  # what is wrong with names of members

    def __init_subclass__(cls, **arguments: Any) -> None:
        base: Any = super(cls, cls)
        cls._names_taken = (*base._names_taken, *_claim_members(cls))
        super().__init_subclass__(**arguments)

    def dbus_interface(self) -> str | None:
        """Return the interface of the members that name none; ``INTERFACE`` by default."""
        return self.INTERFACE

    def properties_changed(self, *names: str) -> None:
        """Inform clients that properties have changed, by their names on the bus; from any thread.

        The getters are called in this thread.

        Raises:
            KeyError: there is no property of that name.
        """
        for tree, path in self._exports:
            tree.properties_changed(path, self, names)

    def _send_signal(self, attribute: str, args: tuple[Any, ...]) -> None:
        for tree, path in self._exports:
            tree.send_signal(path, self, attribute, args)
