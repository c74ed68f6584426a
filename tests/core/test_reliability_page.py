"""docs/reliability.md and the tests of its rows are in step."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "reliability.md"


def test_every_row_has_its_test_and_vice_versa() -> None:
    rows = re.findall(r"^\|[^|]+\|[^|]+\| `(\w+)` \|$", PAGE.read_text(), re.MULTILINE)
    tests: list[str] = []
    for path in HERE.parent.glob("*/test_reliability_*.py"):
        if path.name != Path(__file__).name:
            tests += re.findall(r"^def test_(\w+)\(", path.read_text(), re.MULTILINE)
    assert sorted(set(rows)) == sorted(tests)  # a test that is a table has several rows
    assert len(rows) >= 30
