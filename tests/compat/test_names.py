"""Every public name of sparts 0.7 is here, or docs/from-sparts-0.7.md tells what became of it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NAMES = tomllib.loads((Path(__file__).parent / "names.toml").read_text())
PAGE = (ROOT / "docs" / "from-sparts-0.7.md").read_text()
ROWS = re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, re.MULTILINE)
CLASSES = {each["name"]: each for each in NAMES["class"]}


def class_of(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def has(cls: Any, name: str) -> bool:
    """Whether a class has an attribute, or its instances are given it."""
    if hasattr(cls, name):
        return True
    for base in cls.__mro__:
        if name in getattr(base, "__annotations__", {}):
            return True
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):
            continue
        if re.search(rf"\bself\.{name}\b[^=\n]*=", source):
            return True
    return False


def parameters_of(method: str) -> tuple[str, list[str], int]:
    """Return the name of a method, its parameters, and how many of them are required."""
    (function,) = ast.parse(f"def {method}: pass").body
    assert isinstance(function, ast.FunctionDef)
    names = [each.arg for each in function.args.args]
    return function.name, names, len(names) - len(function.args.defaults)


@pytest.mark.parametrize("name", CLASSES)
def test_names_of_a_class_are_here(name: str) -> None:
    cls, facts = class_of(name), CLASSES[name]
    every = (*facts.get("attributes", ()), *facts.get("instance", ()))
    assert [each for each in every if not has(cls, each)] == []


@pytest.mark.parametrize("name", CLASSES)
def test_methods_take_what_they_took(name: str) -> None:
    cls = class_of(name)
    for method in CLASSES[name].get("methods", ()):
        own, names, required = parameters_of(method)
        function = inspect.getattr_static(cls, own)
        bound = [] if isinstance(function, classmethod | staticmethod) else [None]
        signature = inspect.signature(getattr(cls, own))
        signature.bind(*bound, *[None] * required)
        signature.bind(*bound, *[None] * len(names))


@pytest.mark.parametrize("module", NAMES["modules"])
def test_names_of_a_module_are_here(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES["modules"][module] if not hasattr(found, name)] == []


def test_what_is_gone_has_a_row() -> None:
    gone = dict(NAMES["gone"])
    for name, facts in CLASSES.items():
        gone |= {f"{name}.{each}": row for each, row in facts.get("gone", {}).items()}
    assert {name: row for name, row in gone.items() if row not in ROWS} == {}


def test_what_is_gone_is_not_here() -> None:
    for name, facts in CLASSES.items():
        cls = class_of(name)
        assert [each for each in facts.get("gone", {}) if hasattr(cls, each)] == [], name


def test_rows_have_ids_of_their_own() -> None:
    assert len(ROWS) == len(set(ROWS)) > 40
