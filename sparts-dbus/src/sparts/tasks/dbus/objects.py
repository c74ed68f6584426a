"""The tree of exported objects: who is called by a message, and what each is asked by standard.

The standard interfaces (Properties, Introspectable, ObjectManager) are here; Peer is dbus-fast's.
https://dbus.freedesktop.org/doc/dbus-specification.html#standard-interfaces
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from dbus_fast import DBusError, ErrorType, Message, Variant
from dbus_fast.signature import get_signature_tree
from sparts.errors import UsageError, log_error, message_of
from sparts.tasks.dbus.calls import Bound, refuse
from sparts.tasks.dbus.descriptors import release
from sparts.tasks.dbus.interfaces import Argument, Interface, Member, interfaces_of
from sparts.tasks.dbus.introspect import to_xml
from sparts.tasks.dbus.types import DBusType
from sparts.tasks.dbus.validity import UnsupportedTypeError, check_body, is_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from logging import Logger

    from sparts.tasks.dbus.bus import Bus
    from sparts.tasks.dbus.exporting import DBusObject

PROPERTIES = "org.freedesktop.DBus.Properties"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
MANAGER = "org.freedesktop.DBus.ObjectManager"
PEER = "org.freedesktop.DBus.Peer"


class Exported:
    """An object at its path."""

    def __init__(self, thing: DBusObject) -> None:
        self.thing = thing
        self.interfaces: dict[str, Interface] = interfaces_of(thing)
        self.methods: dict[tuple[str, str], Bound] = {
            (interface.name, member.name): _bound(thing, interface, member)
            for interface in self.interfaces.values()
            for member in interface.methods.values()
        }
        self.signals: dict[str, tuple[str, Member]] = {
            member.attribute: (interface.name, member)
            for interface in self.interfaces.values()
            for member in interface.signals.values()
        }


class ObjectTree:
    """The objects that a task has exported. Safe for threads.

    Args:
        begin: begins a call; in the loop's thread.
        send: sends a message where there is a bus; in any thread.
        logger: where properties are reported that cannot be read.
    """

    def __init__(
        self,
        begin: Callable[[Bus, Message, Bound], None],
        send: Callable[[Message], None],
        logger: Logger,
    ) -> None:
        self._begin = begin
        self._send = send
        self._logger = logger
        self._changing = threading.Lock()
        self._objects: dict[str, list[Exported]] = {}
        self._methods: dict[tuple[str, str | None, str], Bound] = {}
        self.manager: str | None = None
        """The path of the object that is the ObjectManager of those below it."""

    # -- exporting ---------------------------------------------------------------------------------

    def export(self, path: str, thing: DBusObject | Exported) -> None:
        """Offer an object at a path.

        Raises:
            UsageError: the path is none, what the object offers cannot be offered, or there is one
                at that path with the same interface.
        """
        if not is_path(path):
            raise UsageError(f"{path!r} is no object path: use /letters_and/digits.")
        new = thing if isinstance(thing, Exported) else Exported(thing)
        thing, standard = new.thing, self._standard(path)
        for interface, member in new.methods.keys() & standard.keys():
            who = type(thing).__name__
            raise UsageError(f"{who} has {interface}.{member}, which sparts answers itself.")
        told = None
        if self.manager and self._managed(path):
            told = _signal(self.manager, MANAGER, "InterfacesAdded", "oa{sa{sv}}",
                           [path, self._all_of(new)])  # fmt: skip
        with self._changing:
            there = self._objects.get(path, [])
            for other in there:
                if both := sorted(new.interfaces.keys() & other.interfaces.keys()):
                    who = type(other.thing).__name__
                    raise UsageError(f"{who} is at {path} already, with the interface {both[0]}.")
            self._objects = {**self._objects, path: [*there, new]}  # others may iterate over it
            for (interface, member), bound in (new.methods | standard).items():
                self._methods[path, interface, member] = bound
                self._methods.setdefault((path, None, member), bound)
            thing._exports = (*thing._exports, (self, path))
        if told is not None:
            self._send(told)

    def unexport(self, path: str) -> None:
        """Take back what is offered at a path.

        Raises:
            KeyError: nothing is.
        """
        with self._changing:
            if path not in self._objects:
                raise KeyError(f"Nothing is exported at {path}.")
            gone = self._objects[path]
            self._objects = {p: found for p, found in self._objects.items() if p != path}
            for exported in gone:
                for interface, member in exported.methods | self._standard(path):
                    self._methods.pop((path, interface, member), None)
                    self._methods.pop((path, None, member), None)
                thing = exported.thing
                thing._exports = tuple(e for e in thing._exports if e != (self, path))
        if self.manager and self._managed(path):
            names = [name for exported in gone for name in exported.interfaces]
            self._send(_signal(self.manager, MANAGER, "InterfacesRemoved", "oas", [path, names]))

    def passes_fds(self) -> bool:
        """Whether a type of anything exported is a file descriptor."""
        return any(
            "h" in signature
            for found in self._objects.values()
            for exported in found
            for interface in exported.interfaces.values()
            for signature in interface.signatures()
        )

    def clear(self) -> None:
        """Take back everything, without telling anybody."""
        with self._changing:
            for path, found in self._objects.items():
                for exported in found:
                    thing = exported.thing
                    thing._exports = tuple(e for e in thing._exports if e != (self, path))
            self._objects, self._methods = {}, {}

    def _managed(self, path: str) -> bool:
        return self.manager is not None and path.startswith(_below(self.manager))

    # -- calls, in the loop's thread ---------------------------------------------------------------

    def handle(self, bus: Bus, message: Message) -> bool:
        """Act on a method call; False: it is dbus-fast's to answer."""
        path, member = message.path or "", message.member or ""
        bound = self._methods.get((path, message.interface, member))
        if bound is None:
            if message.interface == PEER:
                return False
            if message.interface in (INTROSPECTABLE, None) and member == "Introspect":
                bound = self._introspection(path)
        if bound is None:
            refuse(bus, message, *self._unknown(message))
            release(message)
        else:
            self._begin(bus, message, bound)
        return True

    def _unknown(self, message: Message) -> tuple[str, str]:
        found = self._objects.get(message.path or "")
        if found is None:
            return ErrorType.UNKNOWN_OBJECT.value, f"There is no object at {message.path}."
        names = {name for exported in found for name in exported.interfaces}
        known = names | {PROPERTIES, INTROSPECTABLE, MANAGER}
        if message.interface is not None and message.interface not in known:
            text = f"{message.path} has no interface {message.interface}. It has: "
            return ErrorType.UNKNOWN_INTERFACE.value, text + ", ".join(sorted(names))
        where = message.interface or message.path
        return ErrorType.UNKNOWN_METHOD.value, f"{where} has no method {message.member}."

    # -- the standard interfaces -------------------------------------------------------------------

    def _standard(self, path: str) -> dict[tuple[str, str], Bound]:
        found = {
            (PROPERTIES, "Get"): _plain("Get", partial(self._get, path), "ss", "v"),
            (PROPERTIES, "Set"): _plain("Set", partial(self._set, path), "ssv", ""),
            (PROPERTIES, "GetAll"): _plain("GetAll", partial(self._get_all, path), "s", "a{sv}"),
            (INTROSPECTABLE, "Introspect"): self._introspection(path),
        }
        if path == self.manager:
            get = partial(self._managed_objects, path)
            found[MANAGER, "GetManagedObjects"] = _plain(
                "GetManagedObjects", get, "", "a{oa{sa{sv}}}"
            )
        return found

    def _introspection(self, path: str) -> Bound:
        return _plain("Introspect", partial(self._introspect, path), "", "s")

    def _introspect(self, path: str) -> str:
        objects = self._objects
        below = _below(path)
        children = {p[len(below) :].partition("/")[0] for p in objects if p.startswith(below)}
        interfaces = [i for found in objects.get(path, ()) for i in found.interfaces.values()]
        if not interfaces and not children - {""}:
            raise DBusError(ErrorType.UNKNOWN_OBJECT, f"There is no object at {path}.")
        return to_xml(interfaces, children - {""}, manager=path == self.manager)

    def _property(self, path: str, interface: str, name: str) -> tuple[DBusObject, Any]:
        for exported in self._objects.get(path, ()):
            for found in exported.interfaces.values():
                if interface in (found.name, "") and name in found.properties:
                    return exported.thing, found.properties[name]
        raise DBusError(ErrorType.UNKNOWN_PROPERTY, f"{interface or path} has no property {name}.")

    def _get(self, path: str, interface: str, name: str) -> Variant:
        return value_of(*self._property(path, interface, name))

    def _set(self, path: str, interface: str, name: str, value: Variant) -> None:
        thing, found = self._property(path, interface, name)
        if found.fset is None:
            raise DBusError(ErrorType.PROPERTY_READ_ONLY, f"{name} can only be read.")
        kind: DBusType = found.kind
        if value.signature != kind.signature and kind.signature != "v":
            text = f"{name} is {kind.signature!r}, not {value.signature!r}."
            raise DBusError(ErrorType.INVALID_ARGS, text)
        plain = value if kind.signature == "v" and value.signature != "v" else value.value
        found.fset(thing, kind.decode(plain) if kind.decode else plain)

    def _get_all(self, path: str, interface: str) -> dict[str, Variant]:
        everything: dict[str, Variant] = {}
        known = {PROPERTIES, INTROSPECTABLE, MANAGER, PEER, ""}
        for exported in self._objects.get(path, ()):
            for found in exported.interfaces.values():
                known.add(found.name)
                if interface in (found.name, ""):
                    everything |= self._values(exported.thing, found)
        if interface not in known:
            raise DBusError(ErrorType.UNKNOWN_INTERFACE, f"{path} has no interface {interface}.")
        return everything

    def _managed_objects(self, path: str) -> dict[str, dict[str, dict[str, Variant]]]:
        below = _below(path)
        found: dict[str, dict[str, dict[str, Variant]]] = {}
        for where, exported in self._objects.items():
            if where.startswith(below):
                found[where] = {}
                for each in exported:
                    found[where] |= self._all_of(each)
        return found

    def _all_of(self, exported: Exported) -> dict[str, dict[str, Variant]]:
        return {
            name: self._values(exported.thing, interface)
            for name, interface in exported.interfaces.items()
        }

    def _values(self, thing: DBusObject, interface: Interface) -> dict[str, Variant]:
        """Return the values of the properties, without those that cannot be read."""
        found = {name: self._value_of(thing, p) for name, p in interface.properties.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _value_of(self, thing: DBusObject, found: Any) -> Variant | None:
        """Return the value of a property; None, and a line in the log: it cannot be read."""
        try:
            return value_of(thing, found)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            where = f"{type(thing).__name__}.{found.mark.name}"
            log_error(self._logger, "%s cannot be read", where, error=error)
            return None

    # -- signals, from any thread ------------------------------------------------------------------

    def send_signal(
        self, path: str, thing: DBusObject, attribute: str, args: Sequence[Any]
    ) -> None:
        """Send the signal of an object at a path; see `dbus_signal`."""
        for exported in self._objects.get(path, ()):
            if exported.thing is thing:
                interface, member = exported.signals[attribute]
                body = [
                    argument.type.encode(value) if argument.type.encode else value
                    for argument, value in zip(member.arguments, args, strict=True)
                ]
                self._send(_signal(path, interface, member.name, member.in_signature, body))

    def properties_changed(self, path: str, thing: DBusObject, names: Sequence[str]) -> None:
        """Report changed properties of an object at a path."""
        for exported in self._objects.get(path, ()):
            if exported.thing is not thing:
                continue
            known = {n for i in exported.interfaces.values() for n in i.properties}
            for missing in set(names) - known:
                raise KeyError(f"{type(thing).__name__} has no property {missing} on the bus.")
            for interface in exported.interfaces.values():
                self._tell_changed(path, thing, interface, names)

    def _tell_changed(
        self, path: str, thing: DBusObject, interface: Interface, names: Sequence[str]
    ) -> None:
        told: dict[str, Variant] = {}
        gone: list[str] = []
        for name in names:
            found = interface.properties.get(name)
            emits = found.mark.emits if found is not None else "false"
            value = self._value_of(thing, found) if emits == "true" else None
            if value is not None:
                told[name] = value
            elif emits in ("true", "invalidates"):
                gone.append(name)
        if told or gone:
            body = [interface.name, told, gone]
            self._send(_signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body))


def _signal(path: str, interface: str, member: str, signature: str, body: list[Any]) -> Message:
    tree = get_signature_tree(signature)
    try:
        tree.verify(body)
        check_body(tree, body)
    except Exception as error:
        text = f"{interface}.{member} is {signature!r}: {message_of(error)}"
        raise UnsupportedTypeError(text) from error
    return Message.new_signal(path, interface, member, signature, body)


def value_of(thing: DBusObject, found: Any) -> Variant:
    """Return the present value of a property, as a variant of its type.

    Raises:
        UnsupportedTypeError: it is not of that type.
    """
    value = found.fget(thing)
    kind: DBusType = found.kind
    variant = Variant(kind.signature, kind.encode(value) if kind.encode else value)
    check_body(get_signature_tree("v"), [variant])
    return variant


def _below(path: str) -> str:
    return path if path == "/" else path + "/"


def _bound(thing: DBusObject, interface: Interface, member: Member) -> Bound:
    return Bound(
        f"{interface.name}.{member.name}",
        getattr(thing, member.attribute),
        member.arguments,
        member.results,
        single=member.single,
        is_async=member.is_async,
    )


def _plain(label: str, fn: Callable[..., Any], takes: str, gives: str) -> Bound:
    arguments, results = (
        [Argument("", DBusType(t.signature)) for t in get_signature_tree(signature).types]
        for signature in (takes, gives)
    )
    return Bound(label, fn, arguments, results, single=True, is_async=False)
