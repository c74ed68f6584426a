"""Introspection data of exported objects: XML, with the docstrings.

https://dbus.freedesktop.org/doc/dbus-specification.html#introspection-format; docstrings are in
annotations as gdbus-codegen has them (https://docs.gtk.org/gio/migrating-gdbus.html).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbus_fast import ArgDirection
from dbus_fast import introspection as intr
from sparts.tasks.dbus.markup import legal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparts.tasks.dbus.interfaces import Argument, Interface

DOC = "org.gtk.GDBus.DocString"
EMITS = "org.freedesktop.DBus.Property.EmitsChangedSignal"
MANAGER = "org.freedesktop.DBus.ObjectManager"


def to_xml(interfaces: Iterable[Interface], children: Iterable[str], manager: bool) -> str:
    """Return the XML for an object with these interfaces, and nodes below it.

    Args:
        interfaces: its own; those that every object has are added.
        children: the names of the nodes below it.
        manager: whether it is an ObjectManager too.
    """
    node = intr.Node.default()
    node.interfaces = [i for i in node.interfaces if manager or i.name != MANAGER]
    node.interfaces += [_interface(interface) for interface in interfaces]
    node.nodes = [intr.Node(name) for name in sorted(children)]
    return str(node.tostring())


def _interface(interface: Interface) -> intr.Interface:
    return intr.Interface(
        interface.name,
        [
            intr.Method(
                method.name,
                _arguments(method.arguments, ArgDirection.IN),
                _arguments(method.results, ArgDirection.OUT),
                _doc(method.doc),
            )
            for method in interface.methods.values()
        ],
        [
            intr.Signal(
                signal.name, _arguments(signal.arguments, ArgDirection.OUT), _doc(signal.doc)
            )
            for signal in interface.signals.values()
        ],
        [
            intr.Property(
                name,
                found.kind.signature,
                found.access,
                _doc(found.doc) | ({} if found.mark.emits == "true" else {EMITS: found.mark.emits}),
            )
            for name, found in interface.properties.items()
        ],
        _doc(interface.doc),
    )


def _arguments(arguments: Iterable[Argument], direction: ArgDirection) -> list[intr.Arg]:
    return [intr.Arg(a.type.signature, direction, a.name or None) for a in arguments]


def _doc(text: str) -> dict[str, str]:
    return {DOC: legal(text)} if text else {}
