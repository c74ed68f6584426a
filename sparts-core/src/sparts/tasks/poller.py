"""PollerTask: fetches a value again and again, and tells when it has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.errors import TaskStoppedError
from sparts.tasks.periodic import ExecuteContext, PeriodicTask, TryLater

if TYPE_CHECKING:
    from sparts.vservice import VService

__all__ = ["PollerTask", "TryLater"]


class PollerTask(PeriodicTask):
    """Calls `fetch` at each interval, and `onValueChanged` when it gives something new."""

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._value: Any = None
        self._fetched = False

    def fetch(self) -> Any:
        """Return the value as it is now; called in the worker thread.

        `TryLater` tries again later and keeps the value; any other exception leaves the worker.
        """
        raise NotImplementedError(f"{self.name} has nothing to fetch: write its fetch().")

    def onValueChanged(self, old: Any, new: Any) -> None:  # noqa: N802
        """Learn of a new value; called in the worker thread, after `getValue` gives it.

        ``old`` is None the first time. The default does nothing. An exception leaves the worker.
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
            while not self._fetched:
                if self._runs.over:
                    raise TaskStoppedError(f"{self.name} ended before it had fetched a value.")
                if until is not None and self.clock.monotonic() >= until:
                    raise TimeoutError(f"{self.name} has fetched no value within {timeout:g} s.")
                self.clock.wait(self._runs.wakeup, until)
            return self._value

    def execute(self, context: ExecuteContext | None = None) -> Any:
        """Fetch the value, tell if it has changed, and return it."""
        new = self.fetch()
        with self._runs.wakeup:
            old, self._value = self._value, new
            self._fetched = True
            self._runs.wakeup.notify_all()
        if old != new:
            self.onValueChanged(old, new)
        return new
