"""The storeys and rooms of the core, as docs/architecture.md draws them."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORE = ROOT / "sparts-core" / "src" / "sparts"


def storeys() -> dict[str, int]:
    """Give each room of the core with the number of its storey."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    picture = page.split("## The core: four storeys")[1].split("```")[1]
    return {
        room: int(number)
        for number, rooms in re.findall(r"^storey (\d):(.*?)(?=^storey|\Z)", picture, re.M | re.S)
        for room in re.findall(r"^([a-z0-9_]+)(?:/|\.py)", rooms, re.M)
    }


def room_of(path: Path) -> str:
    """Give the room that a file of the core is in."""
    return path.relative_to(CORE).parts[0].removesuffix(".py")


def files() -> list[Path]:
    """Give all files of the core."""
    return sorted(CORE.rglob("*.py"))


def code_lines(path: Path) -> int:
    """Give how many lines of a file hold code: no blank lines, comments or docstrings."""
    source = path.read_text()
    empty = (
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    )
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in empty:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)
