"""Many items through a queue, their results in the order of the items."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sized
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
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


class OrderedResults:
    """Iterates over the results of items, which it submits a bounded number ahead of its reader.

    The first are submitted when it is made. When it ends early, by an error, its time or `close`,
    what has not begun is cancelled.

    Args:
        submit: submits an item within seconds (None: however long it takes) and gives its future.
        items: anything that can be iterated over, also without end.
        timeout: seconds for the whole, from now; None: no limit.
        progress: called in the reader's thread as each result comes, with how many have, and how
            many there will be (None: that is not known). A `ProgressBar` is closed at the end.
        ahead: how many items are submitted ahead.
    """

    def __init__(
        self,
        submit: Callable[[Any, float | None], Future[Any]],
        items: Iterable[Any],
        timeout: float | None,
        progress: Callable[[int, int | None], object] | None,
        ahead: int,
    ) -> None:
        self._submit = submit
        self._total = len(items) if isinstance(items, Sized) else None
        self._items: Iterator[Any] = iter(items)
        self._deadline = None if timeout is None else monotonic() + timeout
        self._progress = progress
        self._done = 0
        self._pending: deque[Future[Any]] = deque()
        self._fill(max(1, ahead))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._pending:
            self.close()
            raise StopIteration
        try:
            result = self._pending[0].result(self._left())
            self._pending.popleft()
            self._fill(1)
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total)
        except BaseException:
            self.close()
            raise
        return result

    def close(self) -> None:
        """Submit nothing more, and cancel what has not begun."""
        self._items = iter(())
        while self._pending:
            self._pending.pop().cancel()
        if isinstance(self._progress, ProgressBar):
            self._progress.close()

    def __del__(self) -> None:
        self.close()

    def _fill(self, number: int) -> None:
        try:
            for item in islice(self._items, number):
                self._pending.append(self._submit(item, self._left()))
        except BaseException:
            self.close()
            raise

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())
