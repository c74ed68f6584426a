"""How much memory a message of protobuf takes once it is decoded, found out before that.

Four megabytes of empty messages may take two hundred, and sixty times as many bytes as objects of
Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MOST_DECODED = 256 * 2**20
"""How many bytes of memory a request may take."""
LARGE = 1 << 16
"""Bytes from which on a message is decoded beside the loop: it would hold up other calls."""
_MESSAGE = 64  # bytes of a message, beside its fields
_NUMBER = 40  # bytes of a repeated number
_STRING = 80  # bytes of a repeated string, beside its own
_DEEPEST = 100  # protobuf reads no messages that are deeper


class TooHeavyError(ValueError):
    """A message would take too much memory."""


class _Kind:
    """What a message is made of.

    Args:
        weight: bytes that it takes at least.
    """

    def __init__(self, weight: int) -> None:
        self.weight = weight
        self.fields: dict[int, _Kind | int] = {}
        """By number: messages, and what each byte of repeated scalars takes."""


def bounded(message: Any, per_field: int = 16) -> Callable[[bytes], Any]:
    """Return what decodes messages of a class, but for those that would take too much memory.

    It raises `TooHeavyError`, and what protobuf raises. It costs nothing for messages that are too
    short to do harm.

    Args:
        message: the class.
        per_field: bytes that a field of a message takes, present or not.
    """
    decode: Callable[[bytes], Any] = message.FromString
    known: dict[str, _Kind] = {}
    kind = _kind_of(message.DESCRIPTOR, per_field, known)
    densest = max(_NUMBER, *(each.weight // 2 for each in known.values()))
    light = MOST_DECODED // densest

    def decode_bounded(data: bytes) -> Any:
        if len(data) > light:
            _check(data, kind)
        return decode(data)

    return decode_bounded if kind.fields else decode


def _kind_of(descriptor: Any, per_field: int, known: dict[str, _Kind]) -> _Kind:
    name = descriptor.full_name
    if name not in known:
        kind = known[name] = _Kind(_MESSAGE + per_field * len(descriptor.fields))
        for field in descriptor.fields:
            if field.message_type is not None:
                kind.fields[field.number] = _kind_of(field.message_type, per_field, known)
            elif _is_repeated(field):
                is_text = field.type in (field.TYPE_STRING, field.TYPE_BYTES)
                kind.fields[field.number] = 1 if is_text else _NUMBER
    return known[name]


def _is_repeated(field: Any) -> bool:
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)  # before protobuf 6.31


def _check(data: bytes, kind: _Kind) -> None:
    """Add up what the parts of a message take; what is no message is left to protobuf.

    Raises:
        TooHeavyError: that is too much.
    """
    at, end, left = 0, len(data), MOST_DECODED
    around: list[tuple[_Kind, int]] = []
    try:
        while left >= 0:
            while at >= end:
                if not around:
                    return
                kind, end = around.pop()
            tag, at = _varint(data, at)
            number, form = tag >> 3, tag & 7
            if form == 2:
                size, at = _varint(data, at)
                part = kind.fields.get(number, 0)
                if isinstance(part, int):
                    left -= _STRING + part * size
                    at += size
                else:
                    left -= part.weight
                    around.append((kind, end))
                    kind, end = part, at + size
                    if len(around) > _DEEPEST:
                        return
            elif form == 0:
                at = _varint(data, at)[1]
                left -= _NUMBER
            else:
                at += {1: 8, 5: 4}.get(form, 0)
                left -= _NUMBER
    except IndexError:
        return
    raise TooHeavyError(
        f"The request would take more than {MOST_DECODED >> 20} MiB of memory once it is decoded."
    )


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number, and where it ends."""
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    value, shift = byte & 127, 7
    while True:
        at += 1
        byte = data[at]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + 1
        shift += 7
