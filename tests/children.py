"""The child processes of a test: those of this process that were not there before the test."""

from __future__ import annotations

import contextlib
from pathlib import Path

_others: set[int] = set()


def children() -> list[int]:
    """Return the children of this process that the test has, the zombies too."""
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that ends
            found += map(int, (task / "children").read_text().split())
    return [pid for pid in found if pid not in _others]


def leave_out_others() -> None:
    """Leave out the children that are there now, such as a broker that several tests share."""
    _others.clear()
    _others.update(children())
