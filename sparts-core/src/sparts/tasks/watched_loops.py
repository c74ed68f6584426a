"""Event loops that are watched for what blocks them: asyncio's own, and uvloop's."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import selectors
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def asyncio_loop(
    threshold: float, report: Callable[[float], None]
) -> tuple[asyncio.AbstractEventLoop, LoopWatch | None]:
    """Make asyncio's own loop, and its watch unless the threshold is 0; see `LoopWatch`."""
    if not threshold:
        return asyncio.new_event_loop(), None
    watch = LoopWatch(threshold, report)
    selector: Any = selectors.DefaultSelector()
    selector.select = watch.around(selector.select)
    return asyncio.SelectorEventLoop(selector), watch


def uvloop_loop(
    threshold: float, report: Callable[[float], None], flag: str
) -> tuple[asyncio.AbstractEventLoop, LoopWatch | None]:
    """Make uvloop's loop, and its watch unless the threshold is 0.

    It does not say when it waits. So the watch has it answer, once it was given something to do.
    Code that a transport calls directly is seen when it schedules anything.

    Args:
        threshold: see `LoopWatch`.
        report: see `LoopWatch`.
        flag: what asked for uvloop, for the error.

    Raises:
        UsageError: uvloop is not installed.
    """
    try:
        import uvloop
    except ImportError:
        raise UsageError(
            f"{flag} needs an extra that is not installed: pip install 'sparts-core[uvloop]'"
        ) from None
    loop = uvloop.new_event_loop()
    if not threshold:
        return loop, None
    methods = _Overridden(loop, uvloop.Loop.call_soon_threadsafe)
    watch = LoopWatch(threshold, report, methods.probe)
    methods.listen(watch)
    return loop, watch


class _Overridden:
    """The methods of one uvloop loop that inform its watch when it is given something to do.

    Those that schedule something at once are plain again from their next call until the watch has
    looked, so that they cost nothing in between.

    Args:
        loop: the loop.
        post: the plain method that schedules from other threads, which informs nobody.
    """

    def __init__(self, loop: Any, post: Callable[[Any, Callable[[], None]], Any]) -> None:
        self._own = vars(loop)
        self._post = partial(post, loop)
        self._heard = {
            name: self._now(getattr(loop, name)) for name in ("call_soon", "call_soon_threadsafe")
        }
        for name in ("call_later", "call_at", "add_reader", "add_writer"):
            self._own[name] = self._later(getattr(loop, name))

    def listen(self, watch: LoopWatch) -> None:
        """Begin to report."""
        self._watch = watch
        self._own.update(self._heard)

    def probe(self) -> None:
        """Have the loop say that it is not blocked, and hear what it is given meanwhile."""
        self._own.update(self._heard)
        self._post(self._watch.idle)

    def _stir(self) -> None:
        # Before it is noted: so it is never noted that nothing is scheduled while nobody hears it.
        for name in self._heard:
            self._own.pop(name, None)
        self._watch.stir()

    def _now(self, method: Any) -> Any:
        def schedule(*args: Any, **context: Any) -> Any:
            self._stir()
            return method(*args, **context)

        return schedule

    def _later(self, method: Any) -> Any:
        def stir_and_call(callback: Any, *args: Any) -> None:
            if not self._watch.stirred:
                self._stir()
            callback(*args)

        def schedule(what: Any, callback: Any, *args: Any, **context: Any) -> Any:
            return method(what, stir_and_call, callback, *args, **context)

        return schedule


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
        self._asleep = self._ended = False
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
