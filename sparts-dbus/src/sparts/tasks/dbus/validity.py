"""What a bus accepts: names, signatures and values.

A bus daemon disconnects who sends it anything else, and then a whole service has lost its bus. So
every message is checked before it is sent.
https://dbus.freedesktop.org/doc/dbus-specification.html#message-protocol-marshaling
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dbus_fast import MessageType, Variant
from dbus_fast.signature import get_signature_tree
from sparts.errors import text_of

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.signature import SignatureTree, SignatureType

BASIC = "ybnqiuxtdsogh"
"""The types that are no containers; the keys of dictionaries are of these."""
MAX_NESTED = 32
"""How many arrays may be within each other in a signature, and how many structs."""
MAX_DEPTH = 64
"""How many containers may be within each other in a message, variants included."""
MAX_FDS = 16
"""How many file descriptors a message may have: what buses accept by default."""

_ELEMENT = "[A-Za-z_][A-Za-z0-9_]*"
_member = re.compile(_ELEMENT)
_interface = re.compile(rf"{_ELEMENT}(?:\.{_ELEMENT})+")
_path = re.compile("/|(?:/[A-Za-z0-9_]+)+")
_bus_name = re.compile(
    r":[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+|[A-Za-z_-][A-Za-z0-9_-]*(?:\.[A-Za-z_-][A-Za-z0-9_-]*)+"
)


class UnsupportedTypeError(TypeError):
    """D-Bus has no type for an annotation or a value; the message names it."""


def is_member_name(name: Any) -> bool:
    """Return whether methods and signals may have a name."""
    return _is(_member, name)


def is_interface_name(name: Any) -> bool:
    """Return whether interfaces and errors may have a name."""
    return _is(_interface, name)


def is_bus_name(name: Any) -> bool:
    """Return whether it is a unique name, or one that may be owned."""
    return _is(_bus_name, name)


def is_path(path: Any) -> bool:
    """Return whether objects may be at a path."""
    return isinstance(path, str) and _path.fullmatch(path) is not None


def _is(pattern: re.Pattern[str], name: Any) -> bool:
    return isinstance(name, str) and len(name) <= 255 and pattern.fullmatch(name) is not None


def is_signature(signature: Any) -> bool:
    """Return whether it is a signature: any number of complete types."""
    return isinstance(signature, str) and _depth_of(signature) is not None


def is_single(signature: Any) -> bool:
    """Return whether it is the signature of one complete type."""
    return is_signature(signature) and len(get_signature_tree(signature).types) == 1


@lru_cache(maxsize=4096)
def _depth_of(signature: str) -> int | None:
    """Return how many containers a signature has within each other; None: it is none."""
    try:
        tree = get_signature_tree(signature)
        return max((_depth(kind, 0, 0) for kind in tree.types), default=0)
    except Exception:  # whatever parsing it meets
        return None


def _depth(kind: SignatureType, arrays: int, structs: int) -> int:
    arrays += kind.token == "a"
    structs += kind.token == "("
    if arrays > MAX_NESTED or structs > MAX_NESTED or kind.token == "{":
        raise UnsupportedTypeError(kind.signature)
    if kind.token in BASIC:
        return 0
    children, depth = kind.children, 1
    if kind.token == "a" and children[0].token == "{":
        children, depth = children[0].children, 2
        if children[0].token not in BASIC:
            raise UnsupportedTypeError(kind.signature)
    return depth + max((_depth(child, arrays, structs) for child in children), default=0)


def check_message(message: Message) -> None:
    """Raise `UnsupportedTypeError` if a bus would not accept a message."""
    if _is_walked(message.signature):
        _check_all(message.signature_tree, message.body)
    if message.unix_fds and len(message.unix_fds) > MAX_FDS:
        raise UnsupportedTypeError(
            f"A message has at most {MAX_FDS} file descriptors, not {len(message.unix_fds)}."
        )
    if message.message_type is MessageType.METHOD_RETURN:
        return  # its destination is what the bus itself wrote into the call
    for value, valid, what in (
        (message.destination, is_bus_name, "name on a bus"),
        (message.path, is_path, "object path"),
        (message.interface, is_interface_name, "name of an interface"),
        (message.member, is_member_name, "name of a method or signal"),
        (message.error_name, is_interface_name, "name of an error"),
    ):
        if value is not None and not valid(value):
            raise UnsupportedTypeError(f"{text_of(value, repr)} is no {what}.")


def check_body(tree: SignatureTree, body: list[Any]) -> None:
    """Raise `UnsupportedTypeError` if a bus would not accept values.

    What can be seen of their types alone is left to code that writes them as bytes.
    """
    if _is_walked(tree.signature):
        _check_all(tree, body)


@lru_cache(maxsize=4096)
def _is_walked(signature: str) -> bool:
    """Return whether values of a signature have to be looked at.

    Raises:
        UnsupportedTypeError: it is no signature.
    """
    depth = _depth_of(signature)
    if depth is None or depth > MAX_DEPTH:
        raise UnsupportedTypeError(f"{signature!r} is no signature.")
    return _is_free(signature)


def _check_all(tree: SignatureTree, body: list[Any]) -> None:
    for kind, value in zip(tree.types, body, strict=True):
        _check(kind, value, 0)


def _is_free(signature: str) -> bool:
    """Return whether a value of a signature may be wrong although its Python type is right."""
    return "v" in signature or "o" in signature or "g" in signature


def _check(kind: SignatureType, value: Any, depth: int) -> None:
    token = kind.token
    if token == "o":
        if not is_path(value):
            raise UnsupportedTypeError(f"{text_of(value, repr)} is no object path.")
    elif token == "g":
        if not is_signature(value):
            raise UnsupportedTypeError(f"{text_of(value, repr)} is no signature.")
    elif token == "v":
        _check_variant(value, depth + 1)
    elif token in BASIC or not _is_free(kind.signature):
        return
    elif token != "a":
        for child, item in zip(kind.children, value, strict=True):
            _check(child, item, depth + 1)
    elif kind.children[0].token == "{":
        key_kind, value_kind = kind.children[0].children
        for key, item in value.items():
            _check(key_kind, key, depth + 2)
            _check(value_kind, item, depth + 2)
    else:
        for item in value:
            _check(kind.children[0], item, depth + 1)


def _check_variant(value: Any, depth: int) -> None:
    if not isinstance(value, Variant):
        raise UnsupportedTypeError(f"{text_of(value, repr)} is no Variant.")
    if not is_single(value.signature):
        raise UnsupportedTypeError(f"{value.signature!r} is no signature of one complete type.")
    if depth + (_depth_of(value.signature) or 0) > MAX_DEPTH:
        raise UnsupportedTypeError(
            f"Values are nested too deep: D-Bus allows {MAX_DEPTH} containers within each other."
        )
    _check(value.type, value.value, depth)
