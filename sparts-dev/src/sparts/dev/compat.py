"""``sparts doctor --compat``: what of a service for sparts 0.7 runs as before, and what does not.

Files are read, not run, for names of 0.7 that are gone or do something else; the table is
``established.toml``. Then the service is imported, to see which files its classes and those of its
tasks are in, and which names of theirs are called as before.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.cli.targets import find_service
from sparts.errors import UsageError, message_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "docs/from-sparts-0.7.md"


class Note(NamedTuple):
    """Something in a file that is gone or does something else."""

    missing: bool
    file: str
    line: int
    name: str
    row: str
    text: str

    def __str__(self) -> str:
        kind = "missing" if self.missing else "differs"
        return f"{kind}: {self.file}:{self.line}: {self.name}: {self.text} [{self.row}]"


def main(argv: list[str]) -> int:
    """Print what is known about a service, ``MODULE:Service``; status 1 if anything is missing.

    Raises:
        UsageError: the words are not of that form.
    """
    target = " ".join(argv)
    if ":" not in target:
        raise UsageError(f"--compat takes MODULE:Service, not {target!r}.")
    files: dict[Path, None] = dict.fromkeys(_file_of(target.partition(":")[0]))
    same = missing = differs = 0
    problem = ""
    try:
        for cls in _classes(find_service([target])):
            files[Path(inspect.getfile(cls))] = None
            if kept := _kept(cls):
                same += len(kept)
                print(f"as before: {cls.__name__}: {', '.join(kept)}")
    except UsageError as error:
        problem = f"missing: {message_of(error)}"
        missing = 1
    found = {note for path in files for note in scan(path)}
    for note in sorted(found, key=lambda note: (note.file, note.line, note.name)):
        missing += note.missing
        differs += not note.missing
        print(note)
    if problem:
        print(problem)
    print(f"As before: {same}, different: {differs}, missing: {missing}. The ids are in {PAGE}.")
    return 1 if missing else 0


def _file_of(module: str) -> list[Path]:
    """Return the file of a module, without importing it (but the packages that it is in)."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    return [Path(found.origin)] if found is not None and found.has_location and found.origin else []


def _classes(service: type[Any]) -> list[type[Any]]:
    """Return the classes of a service and of its tasks that are not ours."""
    from sparts import plugins
    from sparts.kernel.runner import resolve_tasks

    tasks = resolve_tasks(service, plugins.load_hooks(tolerant=True))
    every = dict.fromkeys(base for cls in (service, *tasks) for base in cls.__mro__)
    return [cls for cls in every if not _is_ours(cls)]


def _is_ours(cls: type[Any]) -> bool:
    name = cls.__module__
    return name.split(".")[0] in ("sparts", *sys.stdlib_module_names) and name != "__main__"


def _kept(cls: type[Any]) -> list[str]:
    """Return what a class overrides of ours that is used as before."""
    ours = [base for base in cls.__mro__ if _is_ours(base) and base is not object]
    other = {name for table in (_table()["missing"], _table()["differs"]) for name in table}
    return [
        name
        for name in vars(cls)
        if not name.startswith("__") and name not in other and any(name in vars(b) for b in ours)
    ]


def _table() -> dict[str, dict[str, list[str]]]:
    with open(Path(__file__).parent / "established.toml", "rb") as file:
        return tomllib.load(file)


def scan(path: Path) -> Iterator[Note]:
    """Give what a file imports, defines or reads that is gone or does something else."""
    table, shown = _table(), os.path.relpath(path)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        for name in _imported(node):
            for gone, (row, text) in table["imports"].items():
                if name == gone or name.startswith(f"{gone}."):
                    yield Note(True, shown, node.lineno, name, row, text)  # type: ignore[attr-defined]
        for name, line in _named(node):
            for kind in ("missing", "differs"):
                if name in table[kind]:
                    yield Note(kind == "missing", shown, line, name, *table[kind][name])
        if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("IOLoop.instance"):
            text = "gives the loop in its callbacks only; use self.ioloop"
            yield Note(False, shown, node.lineno, "IOLoop.instance", "ioloop-instance", text)


def _imported(node: ast.AST) -> list[str]:
    """Return what an import names; of ``from module import name``, the longer name alone."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _named(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Give the names that a class body defines, and that an attribute or keyword names."""
    if isinstance(node, ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                yield each.name, each.lineno
            elif isinstance(each, ast.Assign):
                yield from ((t.id, t.lineno) for t in each.targets if isinstance(t, ast.Name))
    elif isinstance(node, ast.Attribute):
        yield node.attr, node.lineno
    elif isinstance(node, ast.keyword) and node.arg:
        yield node.arg, node.value.lineno
