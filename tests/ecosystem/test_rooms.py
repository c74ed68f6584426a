"""The code keeps to docs/architecture.md: rooms, floors, and sizes that fit the eye."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

from tests.ecosystem.rooms import CORE, ROOT, files, room_of, rooms, run_time_imports


def test_every_room_is_in_the_picture_and_every_room_of_the_picture_exists() -> None:
    assert sorted(rooms()) == sorted({room_of(path) for path in files()})


def test_imports_point_down_only() -> None:
    floor = {room: number for number, room in enumerate(rooms())}
    upwards = [
        f"{path.relative_to(CORE)}:{line} imports {imported}"
        for path in files()
        for line, imported in run_time_imports(path)
        if floor[imported] < floor[room_of(path)]
    ]
    assert upwards == []


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


def test_core_stays_small() -> None:
    counted = [path for path in files() if room_of(path) not in ("cli", "testing", "tasks")]
    assert sum(map(code_lines, counted)) < 5000


def test_no_file_and_no_function_outgrows_the_eye() -> None:
    too_long: list[str] = []
    for path in sorted(ROOT.glob("sparts-*/src/**/*.py")):
        source = path.read_text()
        if len(source.splitlines()) > 400:
            too_long.append(f"{path.relative_to(ROOT)}: {len(source.splitlines())} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > 60:
                    too_long.append(f"{path.relative_to(ROOT)}: {node.name} has {length} lines")
    assert too_long == []
