"""What an object of another on the bus has, read from its introspection data.

Others write odd things there. What D-Bus does not allow is left out, so that the rest can be used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.parsers import expat

from sparts.tasks.dbus.errors import OURS, DBusError
from sparts.tasks.dbus.markup import readable
from sparts.tasks.dbus.validity import is_interface_name, is_member_name, is_signature, is_single

if TYPE_CHECKING:
    from collections.abc import Callable


class DescribedInterface:
    """An interface: the signatures of what its methods take, and of its properties, by name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.methods: dict[str, str] = {}
        self.properties: dict[str, str] = {}


def read_description(xml: str, odd: Callable[[str], object]) -> list[DescribedInterface]:
    """Return the interfaces that introspection data describe.

    Args:
        xml: the data.
        odd: called with a sentence for each thing that is left out.

    Raises:
        DBusError: it is no XML.
    """
    parser = expat.ParserCreate("utf-8")
    reader = _Reader(odd)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = _refuse_declarations
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(readable(xml).encode(), True)
    except (expat.ExpatError, ValueError) as error:
        raise DBusError(
            OURS + "Introspection", f"The introspection data cannot be read: {error}."
        ) from error
    return reader.interfaces


def _refuse_declarations(name: str, system: object, public: object, internal: int) -> None:
    if internal:  # such declarations can make a few bytes of XML very large
        raise ValueError("it declares entities or attributes of its own")


class _Reader:
    """Takes in elements one by one: interfaces of the outermost node, and what is in them."""

    def __init__(self, odd: Callable[[str], object]) -> None:
        self.interfaces: list[DescribedInterface] = []
        self._odd = odd
        self._open: list[str] = []
        self._interface: DescribedInterface | None = None
        self._method = ""
        self._takes: list[str] | None = None  # None: the method is odd

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._open.append(tag)
        name = attributes.get("name", "")
        match self._open:
            case ["node", "interface"]:
                self._interface = None
                if is_interface_name(name):
                    self._interface = DescribedInterface(name)
                    self.interfaces.append(self._interface)
                else:
                    self._odd(f"{name!r} is no name of an interface")
            case ["node", "interface", "method"]:
                self._method, self._takes = name, []
                if not is_member_name(name):
                    self._odd(f"{name!r} is no name of a method")
                    self._takes = None
            case ["node", "interface", "method", "arg"]:
                self._argument(attributes.get("direction", "in"), attributes.get("type", ""))
            case ["node", "interface", "property"]:
                self._property(name, attributes.get("type", ""))

    def _argument(self, direction: str, kind: str) -> None:
        if self._takes is None:
            return
        if direction not in ("in", "out") or not is_single(kind):
            self._odd(f"{self._method} has an argument {direction!r} of type {kind!r}")
            self._takes = None
        elif direction == "in":
            self._takes.append(kind)

    def _property(self, name: str, kind: str) -> None:
        if not name or not is_single(kind):
            self._odd(f"the property {name!r} is of type {kind!r}")
        elif self._interface is not None:
            self._interface.properties.setdefault(name, kind)

    def end(self, tag: str) -> None:
        if self._open == ["node", "interface", "method"] and self._takes is not None:
            signature = "".join(self._takes)
            if not is_signature(signature):
                self._odd(f"{self._method} takes {signature!r}")
            elif self._interface is not None:
                self._interface.methods.setdefault(self._method, signature)
        self._open.pop()
