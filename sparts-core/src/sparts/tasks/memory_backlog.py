"""The backlog in memory: what waits, what was put off, and what is worked on, in one process."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from math import inf
from queue import Empty, Full
from threading import TIMEOUT_MAX, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.context import ExecuteContext
from sparts.tasks.backlog import Backlog, Leftovers

if TYPE_CHECKING:
    from collections.abc import Callable


#: Stands for the item of a worker that is about to take one, or has just done one.
BETWEEN = ExecuteContext()


class MemoryBacklog(Backlog):
    """Items of one process, in order of arrival.

    Args:
        name: the task's, for errors.
        maxsize: how many items may wait; 0: any number.
        workers: the task's worker threads; the list may grow.
    """

    _worker: Callable[[], Any] = staticmethod(get_ident)
    """Distinguishes workers: what it returns belongs to the caller alone."""

    def __init__(self, name: str, maxsize: int, workers: list[threading.Thread]) -> None:
        super().__init__(name, maxsize)
        self._workers = workers
        self._lock = threading.Lock()  # guards what follows
        self._work = threading.Condition(self._lock)
        self._room = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)
        self._ready: Any = deque()
        self._later: list[tuple[float, int, ExecuteContext]] = []
        self._running: dict[Any, ExecuteContext] = {}  # by worker
        self._taken = 0  # by hand, and not done
        self._numbers = count()
        self._idle = 0  # workers that wait
        self._waking = False  # one of them was woken, and has not looked yet
        self._alarm = inf  # when one of them wakes by itself, for what was put off
        self._blocked: set[int] = set()  # threads that wait for room
        self._closed = self._given_up = False
        self._drain_until = -inf

    # -- for anybody -------------------------------------------------------------------------------

    def add(self, context: ExecuteContext, block: bool = True, timeout: float | None = None) -> Any:
        """Add an item as `put` does, and return the future that gets its outcome, if one does."""
        with self._lock:
            if self._closed or self.maxsize:
                self._wait_for_room(block, timeout)
            self._push(context)
            self._wake_if_due()
        return context.future

    def qsize(self) -> int:
        """How many items wait, those that were put off among them."""
        return len(self._ready) + len(self._later)

    def join(self) -> None:
        """Wait until no item waits or is worked on."""
        with self._lock:
            while self._ready or self._later or self._running or self._taken:
                self._quiet.wait()

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an item out by hand; see `Backlog.get`."""
        deadline = None if timeout is None else monotonic() + timeout
        me = object()
        with self._lock:
            while (context := self._next(me)) is BETWEEN:
                left = None if deadline is None else deadline - monotonic()
                if not block or (left is not None and left <= 0):
                    self._wake_if_due()  # to keep the time that this thread may have kept
                    raise Empty
                self._rest(left)
            if context is None:
                raise self.closed_error()
            del self._running[me]
            self._taken += 1
        return context if context.awaited else context.item

    def task_done(self) -> None:
        """Note that an item from `get` is done; ``ValueError`` if called too often."""
        with self._lock:
            if not self._taken and not self._given_up:
                raise ValueError("task_done() was called more often than get().")
            self._taken = max(0, self._taken - 1)
            self._quiet.notify_all()

    # -- for the workers ---------------------------------------------------------------------------

    def take(self) -> ExecuteContext | None:
        """Wait for an item and mark it as worked on; None when the worker must end."""
        me = self._worker()
        with self._lock:
            while (context := self._next(me)) is BETWEEN:
                self._rest()
        return context

    def done(
        self, context: ExecuteContext, result: Any = None, error: BaseException | None = None
    ) -> None:
        """Note that the calling worker is done with its item, and hand out the outcome."""
        self._running[self._worker()] = BETWEEN
        if error is None:
            context.set_result(result)
        else:
            context.set_exception(error)

    def put_back(self, context: ExecuteContext, seconds: float) -> bool:
        """Have the calling worker's item wait again, for ``seconds``; False if it was given up."""
        with self._lock:
            if self._running.pop(self._worker(), None) is None:
                return False
            due = self.clock.monotonic() + seconds
            heappush(self._later, (due, next(self._numbers), context))
        return True  # the worker comes to `take` or `worker_left` next, where the time is kept

    def worker_left(self) -> None:
        """Note that the calling worker ends by a failure, or pauses for it."""
        with self._lock:
            self._running.pop(self._worker(), None)
            self._quiet.notify_all()
            self._wake_if_due()

    def close(self, drain: float | None) -> None:
        """Take no more items. Those that there are may still be taken, for ``drain`` seconds.

        ``inf`` is for any time, None not at all.
        """
        with self._lock:
            self._closed = True
            self._drain_until = -inf if drain is None else self.clock.monotonic() + drain
            self._wake_all()

    def give_up(self) -> Leftovers:
        """End it all, and return what is not done: being worked on, waiting, put off."""
        with self._lock:
            self._closed = self._given_up = True
            self._drain_until = -inf
            left = [context for context in self._running.values() if context is not BETWEEN]
            while (waiting := self._pop()) is not None:
                left.append(waiting)
            left += [context for _, _, context in sorted(self._later, key=lambda entry: entry[:2])]
            self._later.clear()
            self._running.clear()
            self._taken = 0
            self._wake_all()
            self._quiet.notify_all()
        # `claim` ends what was cancelled before also for `concurrent.futures.wait`.
        return Leftovers([c for c in left if c.wanted or (c.claim() and c.wanted)], [])

    # -- with the lock held ------------------------------------------------------------------------

    def _next(self, me: Any) -> ExecuteContext | None:
        """Take an item; None when the worker must end, `BETWEEN` when there is none to take."""
        while True:
            while self._later and self._later[0][0] <= self.clock.monotonic():
                self._push(heappop(self._later)[2])  # put off until now
            if not self._ready or (self._closed and self._drain_until == -inf):
                break
            context = self._pop()
            if context is None:
                continue
            if self._blocked:
                self._room.notify()
            if not context.claim():
                self._forget(context)
                continue
            self._running[me] = context
            self._wake_if_due()
            return context
        self._running.pop(me, None)
        if not self._running:
            self._quiet.notify_all()
        if self._closed and not (self._later and self._later[0][0] < self._drain_until):
            self._wake_all()  # those who waited for what this worker did last may end, too
            return None
        return BETWEEN

    def _push(self, context: ExecuteContext) -> None:
        self._ready.append(context)

    def _pop(self) -> ExecuteContext | None:
        try:
            return self._ready.popleft()  # type: ignore[no-any-return]
        except IndexError:
            return None

    def _forget(self, context: ExecuteContext) -> None:
        """Note that an item will not be worked on, because it was cancelled."""

    def _wake_if_due(self) -> None:
        """Wake an idle worker if there is something to do, or a time to keep that none keeps."""
        due = self._ready or (self._later and self._later[0][0] < self._alarm)
        if due and self._idle and not self._waking:
            self._wake()

    def _wake(self) -> None:
        """Wake one worker; it wakes the next if there is more to do."""
        self._waking = True
        self._work.notify()

    def _wake_all(self) -> None:
        self._work.notify_all()
        self._room.notify_all()

    def _rest(self, seconds: float | None = None) -> None:
        """Wait to be woken, at most for so long; one of all keeps the time for what was put off."""
        self._idle += 1
        if self._ready:  # came without the lock, see `ArrivalBacklog`
            pass
        elif self._later and self._later[0][0] < self._alarm:
            alarm = self._alarm = self._later[0][0]
            until = alarm if seconds is None else min(alarm, self.clock.monotonic() + seconds)
            self.clock.wait(self._work, until)
            if alarm == self._alarm:
                self._alarm = inf
        else:
            self._work.wait(None if seconds is None else min(seconds, TIMEOUT_MAX))
        self._idle -= 1
        self._waking = False

    def _wait_for_room(self, block: bool, timeout: float | None) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        me = get_ident()
        while not self._closed and self.full():
            left = None if deadline is None else deadline - monotonic()
            if not block or (left is not None and left <= 0):
                raise Full(f"{self.name} has no room (items waiting: {self.qsize()}).")
            self._blocked.add(me)
            try:
                workers = {thread.ident for thread in self._workers if thread.is_alive()}
                if left is None and me in workers and workers <= self._blocked:
                    raise Full(f"{self.name} has no room, and all of its workers wait for some.")
                self._room.wait(left)
            finally:
                self._blocked.discard(me)
        if self._closed:
            raise self.closed_error()


class ArrivalBacklog(MemoryBacklog):
    """A backlog that does without the lock where a deque and one order of steps are enough.

    A lock that every thread wants for every item is handed around at the price of two switches of
    threads each time, while an item costs a tenth of that. With `MemoryBacklog` instead, 10,000
    submissions took 1.0 to 1.4 x the time of a `ThreadPoolExecutor` (0.8 to 0.9 x with this), and
    as many puts with eight workers 1.3 x that of a `queue.Queue` used by hand (0.5 x).
    """

    def add(self, context: ExecuteContext, block: bool = True, timeout: float | None = None) -> Any:
        """Add an item as `put` does, and return the future that gets its outcome, if one does."""
        if self._closed or self.maxsize:
            return super().add(context, block, timeout)
        self._ready.append(context)  # before the look at who waits: `_rest` does it in reverse
        if self._idle and not self._waking:
            with self._lock:
                self._wake_if_due()
        if self._given_up:  # meanwhile: nobody will take it, unless it was seen
            with self._lock, suppress(ValueError):
                self._ready.remove(context)
                raise self.closed_error()
        return context.future

    def take(self) -> ExecuteContext | None:
        """Wait for an item and mark it as worked on; None when the worker must end."""
        if self._closed or self._later or self.maxsize:
            return super().take()
        running, me = self._running, get_ident()
        running[me] = BETWEEN  # before an item is taken: else none would know of it for a moment
        context = self._pop()
        if context is None or not context.claim():
            return super().take()
        running[me] = context
        if self._ready and self._idle and not self._waking:
            with self._lock:
                self._wake_if_due()
        return context
