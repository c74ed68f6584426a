"""What the peers in these tests serve, on any make of the interface."""

from __future__ import annotations

import queue
import sys
import threading
from typing import Any, NoReturn


class Handler:
    """Implements Interop: what begins with ``echo`` gives back what it got."""

    def __init__(self, types: Any, included: Any) -> None:
        self.types, self.included = types, included
        self.notes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("echo"):
            raise AttributeError(name)
        return lambda value: value

    def join(self, first: str, second: str) -> str:
        """Join two texts, so that it shows when they were mixed up."""
        return f"{first}|{second}"

    def nothing(self) -> None:
        """Return nothing."""

    def fail(self, how: str) -> None:
        """Raise what was asked for."""
        if how == "declared":
            raise self.included.Declared(why="it was asked for", code=7)
        if how == "other":
            raise self.types.Other(color=self.included.Color.BLUE)
        if how:
            raise ValueError(how)

    def failText(self, how: str) -> str:  # noqa: N802
        """Raise what was asked for, or return a string."""
        self.fail(how)
        return "well"

    def note(self, text: str) -> None:
        """Keep a string for `noted`."""
        self.notes.put(text)

    def noted(self) -> str:
        """Return the next text that was noted."""
        return self.notes.get(timeout=30)

    def served(self) -> int:
        """Count the calls of this method."""
        self.count += 1
        return self.count

    def hang(self) -> NoReturn:
        """Never return."""
        threading.Event().wait()
        raise AssertionError


class Second:
    """Implements Second."""

    def which(self) -> str:
        """Tell that it is this one."""
        return "second"


def end_with_parent() -> None:
    """End this process when the process that started it has ended, or closes our standard input."""
    import os

    def wait() -> None:
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
