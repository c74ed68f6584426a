"""Compares a class attribute with the annotation of the one that it overrides."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sparts.options import Option

_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "None": (type(None), "None"), "bool": (int, "True or False"), "int": (int, "a whole number"),
    "float": ((int, float), "a number"), "str": (str, "a string"),
    "Sequence": (Sequence, "a list"), "tuple": ((tuple, list), "a tuple"),
    "list": ((list, tuple), "a list"), "Mapping": (Mapping, "a dictionary"),
    "dict": (Mapping, "a dictionary"),
}  # fmt: skip


def check(base: type, name: str, value: Any) -> str | None:
    """Return what is wrong with the value of an attribute that a base annotates; None: nothing.

    What cannot be known is right: descriptors, doubles, annotations of other types.
    """
    annotation = vars(base).get("__annotations__", {}).get(name)
    odd = hasattr(type(value), "__get__") or (callable(value) and not isinstance(value, type))
    if isinstance(value, str):  # the option that reads it converts it
        odd = isinstance(vars(base).get(name.removeprefix("DEFAULT_").lower()), Option)
    negative = type(value) in (int, float) and value < 0 and name != "MAX_ITEMS"  # none: no limit
    if negative and base.__module__.startswith("sparts."):
        return f"is {value}. It must not be negative."
    if annotation is None or odd or hasattr(value, "__fspath__"):
        return None
    phrases: list[str] = []
    for part in _parts(getattr(annotation, "__name__", str(annotation))):
        head, _, inner = part.replace("typing.", "").partition("[")
        if head == "Literal":
            values = ast.literal_eval(f"({inner.removesuffix(']')},)")
            phrases += map(repr, values)
            fits = value in values
        else:
            kind, phrase = _TYPES.get(head, (None, f"a {head}"))
            kind = kind or getattr(sys.modules.get(base.__module__), head, None)
            unknown = kind is Any or getattr(kind, "_is_protocol", False)
            if unknown or not isinstance(kind, type | tuple):
                return None
            phrases.append(phrase)
            fits = isinstance(value, kind) and not (kind is Sequence and isinstance(value, str))
        if fits:
            return None
    shown = value.__name__ if isinstance(value, type) else repr(value)
    return f"is {shown}. It must be {' or '.join(phrases)}."


def _parts(annotation: str) -> list[str]:
    """Return the members of a union."""
    text = annotation.replace("typing.", "")
    if text.startswith("ClassVar["):
        text = text[len("ClassVar[") : -1]
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
