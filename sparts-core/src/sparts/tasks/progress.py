"""A progress bar of many items on a terminal, by rich (extra ``progress``)."""

from __future__ import annotations

import sys
from time import monotonic
from typing import Any

from sparts.errors import UsageError

_EVERY = 0.1  # seconds between two pictures of the bar


class ProgressBar:
    """Shows on standard error how many items are done; nothing if that is no terminal.

    Args:
        name: what stands before the bar.

    Raises:
        UsageError: rich is not installed.
    """

    def __init__(self, name: str) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
        except ImportError as error:
            extra = "sparts-core[progress]"
            raise UsageError(f"progress=True needs {extra}: pip install '{extra}'") from error
        self._bar: Any = None
        self._next = 0.0
        if sys.stderr is not None and sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(
                *("{task.description}", *columns),
                console=Console(stderr=True),
                auto_refresh=False,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task(name.replace("[", r"\["), total=None)
            self._bar.start()

    def __call__(self, done: int, total: int | None) -> None:
        """Show how many items of how many are done."""
        if self._bar is not None:
            shown = monotonic() >= self._next
            self._bar.update(self._task, completed=done, total=total, refresh=shown)
            self._next = monotonic() + _EVERY if shown else self._next

    def close(self) -> None:
        """Leave the last picture on the terminal."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
