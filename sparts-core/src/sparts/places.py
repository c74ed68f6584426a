"""Where an attribute of a class was written."""

from __future__ import annotations

import ast
import linecache
import os
import sys
from types import FunctionType
from typing import Any


def place_of(owner: type, name: str) -> str:
    """Return the file and the line of an attribute, or of its class if it has none."""
    value = vars(owner).get(name)
    function: Any = getattr(value, "__func__", value)
    while hasattr(function, "__base_work__"):
        function = function.__wrapped__
    if isinstance(function, FunctionType):
        return _shown(function.__code__.co_filename, function.__code__.co_firstlineno)
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    if file is None:
        return f"in {owner.__module__}"
    return _shown(file, _line_of(file, owner, name))


def _line_of(file: str, owner: type, name: str) -> int:
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return 1
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found = next((node for node in classes if node.name == owner.__name__), None)
    if found is None:
        return 1
    for node in found.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            return node.lineno
    return found.lineno


def _shown(file: str, line: int) -> str:
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{line}"
