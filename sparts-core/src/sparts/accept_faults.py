"""Connections that the system refuses to accept: a pause, and a warning while it lasts.

`Backoff` is for code that accepts by itself, `AcceptFaults` for the servers that asyncio makes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.clock import retry_delay

if TYPE_CHECKING:
    import asyncio

    from sparts.protocols import Task

PAUSE = 0.25
"""Seconds to wait after a failure; twice as many after each further one."""
LONGEST_PAUSE = 2.0
"""Seconds; the most that it becomes."""
#: Seconds until asyncio tries again by itself, where the process has no descriptor left.
ASYNCIO_PAUSE = 1.0


class Backoff:
    """What fails and is tried again: how long to wait, and whom to inform.

    The first failure is logged. From the second in a row on it is a warning of the service, until
    an attempt succeeds. To be used by one thread at a time.

    Args:
        task: whose name, logger and service to use.
        what: what cannot be done, as part of a sentence.
    """

    def __init__(self, task: Task, what: str) -> None:
        self._task, self._what = task, what
        self._failures = 0
        self._warning: int | None = None

    def failed(self, error: OSError) -> float:
        """Note a failure, and return the seconds until the next attempt."""
        self._failures += 1
        message = f"{self._what}: {error.strerror or error}"
        if self._failures == 1:
            self._task.logger.warning("%s", message)
        elif self._warning is None:
            self._warning = self._task.service.registerWarning(f"{self._task.name}: {message}")
        return retry_delay(self._failures - 1, PAUSE, LONGEST_PAUSE, jitter=0.0)

    def succeeded(self) -> None:
        """Note that it works; costs next to nothing if it worked before."""
        if self._failures:
            self._failures = 0
            if self._warning is not None:
                self._task.service.clearWarning(self._warning)
                self._warning = None
                self._task.logger.info("No longer true: %s", self._what)


class AcceptFaults:
    """Takes reports about ``asyncio.start_server`` and ``loop.create_server``.

    asyncio repeats an error that it does not expect without end, and logs others each second. Only
    for the loop's thread.
    """

    def __init__(self, task: Task) -> None:
        self._backoff = Backoff(task, "No connection can be accepted for now")
        self._quiet: asyncio.TimerHandle | None = None

    def take(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> bool:
        """Return whether a report is of this kind, and act on it.

        Args:
            loop: where it comes from.
            context: what its exception handler gets.
        """
        error = context.get("exception")
        if not isinstance(error, OSError):
            return False
        callback = getattr(context.get("handle"), "_callback", None)
        repeats = getattr(callback, "__name__", "") == "_accept_connection"
        if not repeats and not str(context.get("message")).startswith("socket.accept()"):
            return False
        pause = self._backoff.failed(error)
        if repeats:  # asyncio pauses after the others
            self._pause(loop, context["handle"], pause)
        if self._quiet is not None:
            self._quiet.cancel()
        self._quiet = loop.call_later(pause + 2 * ASYNCIO_PAUSE, self._backoff.succeeded)
        return True

    @staticmethod
    def _pause(loop: asyncio.AbstractEventLoop, handle: Any, seconds: float) -> None:
        callback, arguments = handle._callback, handle._args
        listener = arguments[1]

        def again() -> None:
            if listener.fileno() >= 0:  # else the server was closed
                loop.add_reader(listener, callback, *arguments)

        loop.remove_reader(listener)
        loop.call_later(seconds, again)
