"""What type parameters say of items and results: ``AMQPQueueTask[Order, Receipt]``."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin

import msgspec


def decoder_for(cls: type, position: int) -> msgspec.json.Decoder[Any]:
    """Return what decodes the items (position 0) or results (1) of a task class."""
    found = _parameter(cls, position)
    return msgspec.json.Decoder() if found is Any else msgspec.json.Decoder(found)


def _parameter(cls: type, position: int) -> Any:
    for ancestor in cls.__mro__:
        for base in ancestor.__dict__.get("__orig_bases__", ()):
            if not isinstance(get_origin(base), type) or not hasattr(get_origin(base), "queue"):
                continue
            given = get_args(base)
            if len(given) <= position:
                continue
            parameter = given[position]
            if isinstance(parameter, TypeVar) or parameter is Any:
                continue
            return Any if parameter is None else parameter
    return Any
