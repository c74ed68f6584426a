"""Where an attribute of a class was written."""

from __future__ import annotations

import ast
import linecache
import os
import sys
from contextlib import suppress
from types import FunctionType

from sparts.base_work import unwrapped


def named(cls: type, name: str) -> str:
    """Return what an attribute of a class is called, and where: ``P.INTERVAL (service.py:7)``.

    What only a class of ours has belongs to the class itself.
    """
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    owner = cls if owner.__module__.startswith("sparts.") else owner
    return f"{owner.__name__}.{name} ({place_of(owner, name)})"


def place_of(owner: type, name: str = "") -> str:
    """Return the file and the line of an attribute, or of its class if it has none."""
    value = vars(owner).get(name)
    function = unwrapped(getattr(value, "__func__", value))
    if isinstance(function, FunctionType):
        return _shown(function.__code__.co_filename, function.__code__.co_firstlineno)
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    return f"in {owner.__module__}" if file is None else _shown(file, _line_of(file, owner, name))


def _line_of(file: str, owner: type, name: str) -> int:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return 1
    found: ast.AST = tree
    for part in owner.__qualname__.replace("<locals>.", "").split("."):
        inside = (each for each in ast.walk(found) if getattr(each, "name", None) == part)
        found = next(inside, found)
    if not isinstance(found, ast.ClassDef):
        return 1
    names = [each for each in ast.walk(found) if isinstance(each, ast.Name) and each.id == name]
    return next((each.lineno for each in names if isinstance(each.ctx, ast.Store)), found.lineno)


def _shown(file: str, line: int) -> str:
    with suppress(OSError, ValueError):  # the current folder may be gone
        relative = os.path.relpath(file)
        file = file if relative.startswith("..") else relative
    return f"{file}:{line}"
