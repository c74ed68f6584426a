"""Many items through a queue, their results in the order of the items."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import count, islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError

if TYPE_CHECKING:
    from concurrent.futures import Future


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


def ordered_results(
    submit: Callable[[Any, float | None], Future[Any]],
    items: Iterable[Any],
    timeout: float | None,
    progress: Callable[[int, int | None], object] | None,
    ahead: int,
) -> Iterator[Any]:
    """Return an iterator over the results of items, submitted a bounded number ahead of its reader.

    The first are submitted at once. When it ends early, by an error, its time or ``close()``, what
    has not begun is cancelled.

    Args:
        submit: submits an item within seconds (None: however long it takes) and gives its future.
        items: anything that can be iterated over, also without end.
        timeout: seconds for the whole, from now; None: no limit.
        progress: called in the reader's thread as each result comes, with how many have, and how
            many there will be (None: that is not known). A `ProgressBar` is closed at the end.
        ahead: how many items are submitted ahead.
    """
    total = len(items) if isinstance(items, Sized) else None
    deadline = None if timeout is None else monotonic() + timeout
    pending: deque[Future[Any]] = deque()
    left = iter(items)

    def seconds() -> float | None:
        return None if deadline is None else max(0.0, deadline - monotonic())

    def submit_next(number: int) -> None:
        for item in islice(left, number):
            pending.append(submit(item, seconds()))

    def steps() -> Iterator[Any]:
        try:
            submit_next(max(1, ahead))
            yield None
            for done in count(1):
                if not pending:
                    return
                result = pending[0].result(seconds())
                pending.popleft()
                submit_next(1)
                if progress is not None:
                    progress(done, total)
                yield result
        finally:
            while pending:
                pending.pop().cancel()
            if isinstance(progress, ProgressBar):
                progress.close()

    results = steps()
    next(results)
    return results
