"""What asyncio's own accept loops report: one warning and a pause, not endless tracebacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.net.accepting import Backoff

if TYPE_CHECKING:
    import asyncio

    from sparts.net.accepting import ServerTask

#: Seconds until asyncio tries again by itself, where the process has no descriptor left.
ASYNCIO_PAUSE = 1.0


class AcceptFaults:
    """Takes reports about ``asyncio.start_server`` and ``loop.create_server``.

    asyncio repeats an error that it does not expect without end, and logs others each second. Only
    for the loop's thread.
    """

    def __init__(self, task: ServerTask) -> None:
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
