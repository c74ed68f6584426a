"""Tables and colours for a terminal: by rich where it is installed, else plain."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

from sparts.masking import lines, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

STYLES = {
    "ALIVE": "green",
    "DONE": "green",
    "WARNING": "yellow",
    "DEGRADED": "yellow",
    "STARTING": "yellow",
    "STOPPING": "yellow",
    "PAUSED": "yellow",
    "DEAD": "red",
    "ERROR": "red",
    "CRITICAL": "red",
}


def plain(text: object) -> str:
    """Return a string without control characters, which would act on the terminal."""
    return lines(str(text))


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    print(json.dumps(value, indent=2))


def _rich() -> Any:
    """Return rich's console for a terminal; None: there is no terminal, or no rich."""
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(highlight=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under the names of their columns."""
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    console = _rich()
    if console is not None:
        from rich.table import Table
        from rich.text import Text

        table = Table(*columns, box=None, pad_edge=False, header_style="bold")
        for row in cells:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in (list(columns), *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def print_line(text: str, style: str = "") -> None:
    """Print a line, in a style where there are colours."""
    console = _rich()
    if console is None or not style:
        print(plain(text), flush=True)
        return
    from rich.text import Text

    console.print(Text(plain(text), style=style), soft_wrap=True)


def span(seconds: float) -> str:
    """Return a time as a person says it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def clock(when: float) -> str:
    """Return the time of a day."""
    return time.strftime("%H:%M:%S", time.localtime(when))
