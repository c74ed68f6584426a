"""ExecuteContext: what an ``execute`` is told of its run."""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

_making = threading.Lock()


class ExecuteContext:
    """One run, or one item's way through a queue, with all its attempts.

    Attributes:
        attempt: 1 at first, one more after each `TryLater`.
        item: what is worked on; None in a task without items. Contexts are ordered by it.
        deferred: a Twisted deferred that gets the outcome, or None.
        future: the future that gets the outcome, or None.
    """

    __slots__ = ("_began", "_running", "attempt", "deferred", "future", "item")

    def __init__(
        self,
        attempt: int = 1,
        item: Any = None,
        deferred: Any = None,
        future: Future[Any] | None = None,
    ) -> None:
        """Make the context of a run that has not begun."""
        self.attempt = attempt
        self.item = item
        self.deferred = deferred
        self.future = future
        self._began: float | None = None
        self._running: threading.Event | None = None

    def begin(self) -> None:
        """Note that the run begins now; called by the task, again for each attempt."""
        self._began = monotonic()
        if self._running is not None:
            self._running.set()

    @property
    def running(self) -> threading.Event:
        """Set when the run has begun; made at the first look, because most never look."""
        with _making:
            if self._running is None:
                self._running = threading.Event()
            if self._began is not None:
                self._running.set()
            return self._running

    @property
    def elapsed(self) -> float:
        """Seconds since the present attempt began, 0.0 before."""
        return 0.0 if self._began is None else monotonic() - self._began

    def __lt__(self, other: ExecuteContext) -> bool:
        """Order by item."""
        return bool(self.item < other.item)

    def __repr__(self) -> str:
        """Show the item and the attempt."""
        return f"<ExecuteContext of {self.item!r}, attempt {self.attempt}>"
