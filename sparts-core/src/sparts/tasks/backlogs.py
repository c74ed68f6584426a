"""The backlogs of the other queue tasks: by priority, and without equal items."""

from __future__ import annotations

import functools
from concurrent.futures import CancelledError
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from sparts.context import ExecuteContext
from sparts.tasks.backlog import Backlog
from sparts.tasks.submission import Submission, deliver

if TYPE_CHECKING:
    from concurrent.futures import Future


class _Ranked:
    """An item's place: by the item, then by arrival; what cannot be compared counts as equal."""

    __slots__ = ("context", "number")

    def __init__(self, context: ExecuteContext, number: int) -> None:
        self.context = context
        self.number = number

    def __lt__(self, other: _Ranked) -> bool:
        try:
            if self.context < other.context:
                return True
            if other.context < self.context:
                return False
        except Exception:  # whatever a comparison of anybody's items may raise
            return self.number < other.number
        return self.number < other.number


class PriorityBacklog(Backlog):
    """A backlog of which the smallest item is taken first, and of equal ones the oldest."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ready: list[_Ranked] = []

    def _push(self, context: ExecuteContext) -> None:
        heappush(self._ready, _Ranked(context, next(self._numbers)))

    def _pop(self) -> ExecuteContext | None:
        return heappop(self._ready).context if self._ready else None


class UniqueBacklog(Backlog):
    """A backlog without equal items: one that waits, or is worked on, is not added again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._known: dict[Any, ExecuteContext] = {}

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item as every backlog does, unless an equal one is here.

        Whoever waits for the outcome of one that was put in as a context gets that of the equal
        one. TypeError: the item is not hashable.
        """
        context = item if type(item) is ExecuteContext else ExecuteContext(1, item)
        known = self._admit(context, block, timeout)
        future = known.future
        if known is context or future is None:
            return
        more = ExecuteContext(
            deferred=context.deferred, future=None if context.future is future else context.future
        )
        future.add_done_callback(functools.partial(_hand_on, more))

    def add(
        self, context: ExecuteContext, block: bool = True, timeout: float | None = None
    ) -> Future[Any] | None:
        """Add an item as `put` does; return the future of it, or of the equal one."""
        return self._admit(context, block, timeout).future

    def done(self, context: ExecuteContext) -> None:
        """Note that the calling worker is done with its item; equal ones are new from now on."""
        with self._lock:
            super().done(context)
            if self._known.get(context.item) is context:
                self._forget(context)

    def give_up(self) -> list[ExecuteContext]:
        """End it all, as every backlog does."""
        left = super().give_up()
        with self._lock:
            self._known.clear()
        return left

    def _admit(self, context: ExecuteContext, block: bool, timeout: float | None) -> ExecuteContext:
        """Add an item, unless an equal one is here; return that which is."""
        item = context.item
        try:
            hash(item)
        except TypeError as error:
            raise TypeError(
                f"{self.name} knows equal items by their hash, and {type(item).__name__} has none: "
                f"put in a tuple or a frozen dataclass instead."
            ) from error
        with self._lock:
            if self._closed or (self.maxsize and item not in self._known):
                self._wait_for_room(block, timeout)
            known = self._known.setdefault(item, context)
            if known is not context:
                self._attach(known, context)
                if self._blocked:
                    self._room.notify()  # the room that this thread may have waited for is free
                return known
            self._push(context)
            if self._idle and not self._waking:
                self._wake()
        return context

    def _attach(self, known: ExecuteContext, context: ExecuteContext) -> None:
        """Give the item that is here a future that can be waited for, if one is wanted."""
        wanted = context.future is not None or context.deferred is not None
        if wanted and (known.future is None or known.future.cancelled()):
            known.future = context.future or Submission()
            begun = known.attempt > 1 or any(c is known for c in self._running.values())
            if begun and not known.future.set_running_or_notify_cancel():
                known.future = None

    def _forget(self, context: ExecuteContext) -> None:
        self._known.pop(context.item, None)


def _hand_on(waiting: ExecuteContext, future: Future[Any]) -> None:
    if future.cancelled():
        deliver(waiting, error=CancelledError())
    elif (error := future.exception()) is not None:
        deliver(waiting, error=error)
    else:
        deliver(waiting, future.result())
