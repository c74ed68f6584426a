"""ExecuteContext: what an ``execute`` knows of its run."""

from __future__ import annotations

import threading
import time
from contextvars import Context, copy_context
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.errors import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Protocol

    class Stopping(Protocol):
        """What a context must know of its task: when the task must stop, and its time then."""

        stop_event: threading.Event

        def seconds_to_stop(self) -> float:
            """Return the seconds that are left for work; infinite before the stop."""


_making = threading.Lock()


class ExecuteContext:
    """One run, or one item's way through a queue, with all its attempts.

    It owns the future and the deferred that wait for the outcome: everything that begins or ends
    them calls `claim`, `set_result` or `set_exception`.

    Attributes:
        attempt: 1 at first, one more after each `TryLater`.
        item: what is worked on; None in a task without items. Contexts are ordered by it.
        deferred: a deferred that gets the outcome, or None: it has ``called``, ``callback`` and
            ``errback``.
        future: the future that gets the outcome, or None.
        variables: the context variables (`contextvars`) that ``execute`` is called with: those of
            who made this context; None, before the first attempt: it had none.
    """

    __slots__ = (
        "_began", "_ended", "_running", "_task", "attempt", "deferred", "future", "item",
        "variables",
    )  # fmt: skip

    def __init__(
        self,
        attempt: int = 1,
        item: Any = None,
        deferred: Any = None,
        future: Future[Any] | None = None,
    ) -> None:
        """Make the context of a run that has not begun."""
        self.attempt: int = attempt
        self.item: Any = item
        self.deferred: Any = deferred
        self.future: Future[Any] | None = future
        self.variables: Context | None = copy_context() or None
        self._began: float | None = None
        self._ended: float | None = None
        self._running: threading.Event | None = None
        self._task: Stopping | None = None

    # -- who waits for the outcome -----------------------------------------------------------------

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the outcome."""
        return self.future is not None or self.deferred is not None

    @property
    def wanted(self) -> bool:
        """Whether the run is still to be done: its future was not cancelled."""
        return self.future is None or not self.future.cancelled()

    def claim(self) -> bool:
        """Note in the future that work begins, so that it cannot be cancelled any more.

        False: it was cancelled before, so that nothing is to be done.
        """
        future = self.future
        if future is not None and self.attempt == 1:
            try:
                return future.set_running_or_notify_cancel()
            except RuntimeError:  # it came with the context, and somebody else began or ended it
                pass
        return True

    def start(self) -> bool:
        """Note that work begins, as `claim` and `begin` do; False if it was cancelled before.

        If it has begun, only the stopwatch starts again.
        """
        if self._began is None and not self.claim():
            return False
        self.begin(self._task)
        return True

    def set_result(self, result: Any) -> None:
        """End the future and the deferred with a result, unless they have ended.

        A deferred fires in the thread of its loop if one runs that knows deferreds, else in this.

        Raises:
            Exception: what the deferred's own callbacks let through.
        """
        self._settle("set_result", "callback", result)

    def set_exception(self, error: BaseException) -> bool:
        """End the future and the deferred with an exception; False if nobody waits.

        `concurrent.futures.CancelledError` cancels a future that has not begun. For the rest, see
        `set_result`.
        """
        from concurrent.futures import CancelledError  # which a bare service does without

        if isinstance(error, StopIteration):  # a coroutine that waits would never get one
            error, cause = RuntimeError(f"StopIteration was raised: {text_of(error)}"), error
            error.__cause__ = cause
        if isinstance(error, CancelledError) and self.future is not None:
            try:
                self.future.cancel()
            finally:
                if self.future.cancelled():
                    self.claim()  # else `concurrent.futures.wait` would not see it
        self._settle("set_exception", "errback", error)
        return self.awaited

    def _settle(self, of_future: str, of_deferred: str, outcome: Any) -> None:
        if self.future is not None:
            try:
                getattr(self.future, of_future)(outcome)
            except Exception:
                if not self.future.done():  # else cancelled, or ended when the task was stopped
                    raise
        if self.deferred is not None:
            _fire(self.deferred, of_deferred, outcome)

    # -- time --------------------------------------------------------------------------------------

    def begin(self, task: Stopping | None = None) -> None:
        """Note that the run begins now; called by the task, again for each attempt."""
        self._began, self._ended = monotonic(), None
        self._task = task
        if self._running is not None:
            self._running.set()

    def stop(self) -> float:
        """Note that the attempt has ended, and return `elapsed`, which stays so."""
        self._ended = monotonic()
        return 0.0 if self._began is None else self._ended - self._began

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
        """Seconds since the present attempt began, or that it took; 0.0 before it begins."""
        if self._began is None:
            return 0.0
        return (monotonic() if self._ended is None else self._ended) - self._began

    @property
    def timer(self) -> ExecuteContext:
        """The stopwatch of the present attempt (`start`, `stop`, `elapsed`): the context itself."""
        return self

    def __lt__(self, other: ExecuteContext) -> bool:
        """Order by item."""
        return bool(self.item < other.item)

    def __repr__(self) -> str:
        """Show the item and the attempt."""
        return f"<{type(self).__name__} of {self.item!r}, attempt {self.attempt}>"


def call_for_deferred(function: Callable[[], object]) -> None:
    """Call what fires a deferred; a plugin replaces this by a call in the thread of its loop."""
    function()


def _fire(deferred: Any, method: str, outcome: Any) -> None:
    """Call a deferred, unless it was called."""

    def fire() -> None:
        if not getattr(deferred, "called", False):
            getattr(deferred, method)(outcome)

    call_for_deferred(fire)


def _valid(seconds: float) -> float:
    """Return seconds as `threading` and `time` accept them."""
    return min(max(0.0, seconds), threading.TIMEOUT_MAX)
