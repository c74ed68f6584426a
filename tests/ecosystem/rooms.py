"""The rooms of the core: the order of docs/architecture.md, and the imports that the code makes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "sparts-core" / "src" / "sparts"


def rooms() -> list[str]:
    """Give the rooms of the core in the order of docs/architecture.md, top floor first."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    picture = page.split("## The rooms of the core")[1].split("```")[1]
    return re.findall(r"^([a-z0-9_]+)(?:/|\.py)", picture, re.MULTILINE)


def room_of(path: Path) -> str:
    """Give the room that a file of the core is in."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """Give all files of the core."""
    return sorted(CORE.rglob("*.py"))


def run_time_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give the line and the room of each import of our own that a file makes at run time."""
    pending: list[ast.AST] = [ast.parse(path.read_text())]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            pending += node.orelse
            continue
        pending += ast.iter_child_nodes(node)
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "sparts":
            names = [f"sparts.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.startswith("sparts."):
                yield node.lineno, name.split(".")[1]  # type: ignore[attr-defined]
