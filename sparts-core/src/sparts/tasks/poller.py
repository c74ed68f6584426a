"""PollerTask: fetches a value again and again, and calls back when it has changed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from sparts.base_work import must_override
from sparts.errors import TaskStoppedError, call_plain, refuse_coroutine
from sparts.tasks.forms import fitting
from sparts.tasks.periodic import ExecuteContext, PeriodicTask, TryLater

if TYPE_CHECKING:
    from sparts.vservice import VService

__all__ = ["PollerTask", "TryLater"]


class PollerTask(PeriodicTask):
    """Calls `fetch` at each interval, and `onValueChanged` when it gives something new."""

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self.fetched: threading.Event = threading.Event()
        """Set when the first value has been fetched."""
        self._value: Any = None
        self.current_value: Any = None
        """The last value whose change `onValueChanged` has taken; None before the first."""

    @must_override
    def fetch(self) -> Any:
        """Return the value as it is now; called in the worker thread.

        `TryLater` tries again later and keeps the value; any other exception leaves the worker.
        """
        raise NotImplementedError(f"{self.name} has nothing to fetch: write its fetch().")

    def onValueChanged(self, old: Any, new: Any, /) -> None:  # noqa: N802
        """Take a new value; called in the worker thread, after `getValue` gives it.

        ``old`` is `current_value`: None the first time. The default does nothing. After `TryLater`
        or any other exception, the change is reported again with the next value that is fetched; an
        exception other than `TryLater` leaves the worker.
        """

    def getValue(self, timeout: float | None = None) -> Any:  # noqa: N802
        """Return the last value, from any thread; wait ``timeout`` seconds at most for the first.

        None waits as long as it takes.

        Raises:
            TimeoutError: there was none in time.
            TaskStoppedError: the task ended before there was one.
        """
        until = None if timeout is None else self.clock.monotonic() + timeout
        with self._runs.wakeup:
            while not self.fetched.is_set():
                if self._runs.over:
                    raise TaskStoppedError(f"{self.name} ended before it had fetched a value.")
                if until is not None and self.clock.monotonic() >= until:
                    raise TimeoutError(f"{self.name} has fetched no value within {timeout:g} s.")
                self.clock.wait(self._runs.wakeup, until)
            return self._value

    def execute(self, context: ExecuteContext | None = None) -> Any:
        """Fetch the value, report it if it has changed, and return it."""
        new = fitting(self.fetch, 1)(context)
        refuse_coroutine(new, self.name, "fetch")
        self._note_fetched(new)
        if self.current_value != new:
            call_plain(self.onValueChanged, self.current_value, new)
        self.current_value = new
        return new

    def _note_fetched(self, value: Any) -> None:
        """Give a value to those who wait in `getValue`."""
        with self._runs.wakeup:
            self._value = value
            self.fetched.set()
            self._runs.wakeup.notify_all()
