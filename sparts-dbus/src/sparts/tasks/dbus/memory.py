"""How much memory the calls take that wait for their reply."""

from __future__ import annotations

from sys import getsizeof
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.signature import SignatureType

PER_CALL = 6 << 10
"""Bytes that a call without arguments takes: its message, and what waits for its turn."""
_CONTAINERS = frozenset("a(v")
_FIXED = "ybnqiuxtdh"
_PER_NUMBER = 40


def weight(message: Message) -> int:
    """Return about how many bytes a call takes until it has its reply."""
    if _CONTAINERS.isdisjoint(message.signature):
        return PER_CALL + sum(map(getsizeof, message.body))
    return PER_CALL + _all(message.signature_tree.types, message.body)


def _all(kinds: list[SignatureType], values: Any) -> int:
    return sum([_weight(kind, value) for kind, value in zip(kinds, values, strict=False)])


def _weight(kind: SignatureType, value: Any) -> int:
    token = kind.token
    if token in _FIXED:
        return _PER_NUMBER
    if token == "v":
        return 64 + _weight(value.type, value.value)
    size = getsizeof(value)
    if token == "(":
        return size + _all(kind.children, value)
    if token != "a" or kind.children[0].token == "y":
        return size
    item = kind.children[0]
    if item.token in _FIXED:
        return size + _PER_NUMBER * len(value)
    if item.token == "{":
        keys, values = item.children
        return size + _items(keys, value) + _items(values, value.values())
    return size + _items(item, value)


def _items(kind: SignatureType, values: Any) -> int:
    if kind.token in _FIXED:
        return _PER_NUMBER * len(values)
    if kind.token in "sog":
        return sum(map(getsizeof, values))
    return sum([_weight(kind, value) for value in values])
