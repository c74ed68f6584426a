"""Text that is readable at 80 columns, and at what the terminal has."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def rows(pairs: Sequence[tuple[str, str]], indent: int = 2) -> list[str]:
    """Return lines of two columns; the second is wrapped, and stands below a first that is long.

    Args:
        pairs: the texts of the columns.
        indent: spaces before the first.
    """
    longest = max((len(first) for first, _ in pairs), default=0)
    start = indent + min(longest, 24) + 2
    lines: list[str] = []
    for first, second in pairs:
        head = " " * indent + first
        if len(head) + 2 > start and second:
            lines.append(head)
            head = ""
        lines += wrapped(second, head.ljust(start), " " * start) or [head]
    return lines


def wrapped(text: str, first: str = "", rest: str = "  ") -> list[str]:
    """Return a paragraph's lines: what the first begins with, and all others."""
    width = max(40, min(shutil.get_terminal_size((80, 24)).columns, 100)) - 1
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
