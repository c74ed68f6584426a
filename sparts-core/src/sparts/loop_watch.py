"""LoopWatch: notices that an event loop is blocked, and costs nothing while it is idle."""

from __future__ import annotations

import contextlib
import queue
import threading
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class LoopWatch:
    """Reports, from a thread of its own, that a loop is busy with one thing for too long.

    The loop waits for events by what `around` makes. If it cannot, it says `stir` when there is
    something to do, and ``probe`` has it call `idle` in its own thread as soon as it can.
    The watch looks once every ``threshold`` seconds while the loop works, and sleeps with it. It
    cannot look while other code holds the interpreter's lock.

    Args:
        threshold: seconds; a block is reported when it is one to two times as long.
        report: called in the watch's thread with the seconds, again whenever these have doubled.
        probe: posts `idle` to the loop from another thread.
    """

    def __init__(
        self,
        threshold: float,
        report: Callable[[float], None],
        probe: Callable[[], None] | None = None,
    ) -> None:
        self._threshold = threshold
        self._report = report
        self._probe = probe
        self._since: float | None = None  # when the loop began with what it does now
        self.stirred: bool = False
        """Whether the loop was given something to do since it was last asked."""
        self._asleep = False
        self._ended = False
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    # -- called in the loop's thread, at every turn: as short as can be ----------------------------

    def around(self, wait: Callable[[float | None], T]) -> Callable[[float | None], T]:
        """Return a function that waits as ``wait(timeout)`` does, for whose return the loop works.

        A timeout of 0 seconds is no wait.
        """

        def watched(timeout: float | None = None) -> T:
            if timeout is None or timeout > 0:
                self._since = None
            events = wait(timeout)
            self._since = monotonic()
            if self._asleep:
                self._wake()
            return events

        return watched

    def idle(self) -> None:
        """Note that the loop is done with what it had to do when it was asked."""
        self._since = None

    def stir(self) -> None:
        """Note that the loop works, or will; for a loop with a ``probe``."""
        self.stirred = True
        if self._asleep:
            self._wake()

    # -- its life ----------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Begin to watch, in a thread of this name."""
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        self._thread = thread

    def stop(self) -> None:
        """End, and return when the thread has."""
        self._ended = True
        self._wake()
        if self._thread is not None:
            self._thread.join()

    def _wake(self) -> None:
        self._asleep = False
        self._wakeups.put(None)

    def _run(self) -> None:
        reported: float | None = None
        patience = self._threshold
        while not self._ended:
            since = self._since
            if since is None or since != reported:
                patience = self._threshold
            if since is None:
                if self._probe is not None and self.stirred:
                    self.stirred, self._since = False, monotonic()
                    self._probe()
                else:
                    self._sleep()
                continue
            blocked = monotonic() - since
            if blocked >= patience and self._since == since:
                self._report(blocked)
                reported, patience = since, 2 * blocked
            self._pause(min(patience - blocked, self._threshold))

    def _sleep(self) -> None:
        """Wait until the loop works again."""
        self._asleep = True
        if self._since is None and not self.stirred and not self._ended:
            self._wakeups.get()
        self._asleep = False
        if not self._ended:
            # Or else a loop of many short turns would wake this thread in each of them.
            self._pause(self._threshold)

    def _pause(self, seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            self._wakeups.get(timeout=max(seconds, 0.0))
