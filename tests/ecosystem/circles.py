"""Circles of imports within a distribution, those for type checkers and in functions included."""

from __future__ import annotations

import ast
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from tests.ecosystem.rooms import ROOT


def circles(distribution: str) -> list[list[str]]:
    """Give the circles of modules that import each other, each sorted.

    Args:
        distribution: the name of a folder of the workspace, such as ``sparts-thrift``.
    """
    imports = imports_of(distribution)
    reach = {name: _reached(name, imports) for name in imports}
    found = {
        tuple(sorted(other for other in reach[name] if name in reach[other]))
        for name in imports
        if name in reach[name]
    }
    return sorted(list(circle) for circle in found)


def foreign_imports(distribution: str, others: Iterable[str]) -> dict[str, set[str]]:
    """Give the distributions of the workspace that one imports from, each with who imports it.

    Args:
        distribution: the name of its folder.
        others: the names of the folders to look for modules in.
    """
    owners = {name: other for other in others for name in _files_of(other)}
    found: dict[str, set[str]] = {}
    for name, path in _files_of(distribution).items():
        for imported in _imported(ast.parse(path.read_text())):
            module = _module(imported, owners)
            if module and owners[module] != distribution:
                found.setdefault(owners[module], set()).add(name)
    return found


def imports_of(distribution: str) -> dict[str, set[str]]:
    """Give the modules of a distribution, each with those of them that it imports anywhere."""
    files = _files_of(distribution)
    return {
        name: {
            module
            for imported in _imported(ast.parse(path.read_text()))
            if (module := _module(imported, files)) and module != name
        }
        for name, path in files.items()
    }


def _files_of(distribution: str) -> dict[str, Path]:
    source = ROOT / distribution / "src"
    return {_name(path.relative_to(source)): path for path in source.rglob("*.py")}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module(imported: str, files: Container[str]) -> str | None:
    """Give the module that a dotted name is, or is a name in."""
    parent = imported.rpartition(".")[0]
    return imported if imported in files else parent if parent in files else None


def _reached(name: str, imports: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = list(imports[name])
    while pending:
        module = pending.pop()
        if module not in reached:
            reached.add(module)
            pending += imports[module]
    return reached
