"""ExecuteContext: what an ``execute`` is told of its run."""

from __future__ import annotations

import threading
import time
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

_making = threading.Lock()


class Stopping(Protocol):
    """What a context must know of its task: when the task is told to stop, and its time then."""

    stop_event: threading.Event

    def seconds_to_stop(self) -> float:
        """Return the seconds that are left for work; infinite before the stop."""


class ExecuteContext:
    """One run, or one item's way through a queue, with all its attempts.

    Attributes:
        attempt: 1 at first, one more after each `TryLater`.
        item: what is worked on; None in a task without items. Contexts are ordered by it.
        deferred: a Twisted deferred that gets the outcome, or None.
        future: the future that gets the outcome, or None.
    """

    __slots__ = ("_began", "_running", "_task", "attempt", "deferred", "future", "item")

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
        self._task: Stopping | None = None

    def begin(self, task: Stopping | None = None) -> None:
        """Note that the run begins now; called by the task, again for each attempt."""
        self._began = monotonic()
        self._task = task
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

    def wait(self, seconds: float) -> bool:
        """Wait in ``execute``: for a rate limit, or before another try. Blocks the thread.

        Returns True after ``seconds``. A stop does not end the wait at once, because a queue still
        works on its items then. It returns False a little before the time for the stop
        (`VTask.seconds_to_stop`) is over: a quarter of it, at most one second. Then ``execute``
        should end. In a coroutine, await `asyncio.sleep` instead: it is cancelled in time.
        """
        until = monotonic() + seconds
        if self._task is not None and not self._task.stop_event.wait(_valid(seconds)):
            return True
        left = _valid(until - monotonic())
        to_stop = inf if self._task is None else self._task.seconds_to_stop()
        granted = min(left, to_stop - min(1.0, to_stop / 4))
        time.sleep(granted)
        return granted == left

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


def _valid(seconds: float) -> float:
    """Return seconds as `threading` and `time` accept them."""
    return min(max(0.0, seconds), threading.TIMEOUT_MAX)
