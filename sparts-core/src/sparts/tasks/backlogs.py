"""The further backlogs in memory: by priority, without equal items, on a `queue.Queue`."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from contextlib import ExitStack
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from sparts.context import ExecuteContext
from sparts.tasks.memory_backlog import MemoryBacklog
from sparts.tasks.submission import Submission

if TYPE_CHECKING:
    import queue
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


class PriorityBacklog(MemoryBacklog):
    """A backlog of which the smallest item is taken first, and of equal ones the oldest."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ready: list[_Ranked] = []

    def _push(self, context: ExecuteContext) -> None:
        heappush(self._ready, _Ranked(context, next(self._numbers)))

    def _pop(self) -> ExecuteContext | None:
        return heappop(self._ready).context if self._ready else None


class _Joint(ExecuteContext):
    """An item with all who added it: it is worked on while any of them wants it."""

    __slots__ = ("begun", "kept", "waiters")

    def __init__(self, item: Any) -> None:
        super().__init__(1, item)
        self.begun = False
        self.kept = False  # somebody added it who does not wait, and so cannot cancel it
        self.waiters: list[ExecuteContext] = []

    @property
    def awaited(self) -> bool:
        """Whether somebody waits for the outcome."""
        return bool(self.waiters)

    @property
    def wanted(self) -> bool:
        """Whether anybody who added it still wants it."""
        return self.kept or any(waiter.wanted for waiter in self.waiters)

    def claim(self) -> bool:
        """Note that work begins; False if all who added the item have cancelled it."""
        if not self.begun:
            self.waiters = [waiter for waiter in self.waiters if waiter.claim()]
            self.begun = self.kept or bool(self.waiters)
        return self.begun

    def set_result(self, result: Any) -> None:
        """Hand the result to all who wait."""
        self._end("set_result", result)

    def set_exception(self, error: BaseException) -> bool:
        """Hand the exception to all who wait; False if nobody does."""
        self._end("set_exception", error)
        return self.awaited

    def _end(self, method: str, outcome: Any) -> None:
        with ExitStack() as each:  # of those who wait, whatever the callbacks of others raise
            for waiter in reversed(self.waiters):
                each.callback(getattr(waiter, method), outcome)


class _SharedSubmission(Submission[Any]):
    """The future of all who have submitted equal items: cancelled when each of them has done so."""

    def __init__(self, lock: threading.Lock, joint: _Joint) -> None:
        super().__init__()
        self._lock = lock
        self._joint = joint
        self.submitters = 1

    def cancel(self) -> bool:
        """Give it up for one who has submitted it; False while others wait, or once it runs."""
        with self._lock:
            if self.submitters > 1:
                self.submitters -= 1
                return False
            if self._joint.future is self and not self._joint.begun:
                self._joint.future = None  # who submits the item again gets another
        return super().cancel()


class UniqueBacklog(MemoryBacklog):
    """A backlog without equal items: one that waits, or is worked on, is not added again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._known: dict[Any, _Joint] = {}

    def add(
        self, context: ExecuteContext, block: bool = True, timeout: float | None = None
    ) -> Future[Any] | None:
        """Add an item, or join the equal one that is here; see `put`.

        Submissions of equal items share one future, which is returned.

        Raises:
            TypeError: the item is not hashable.
        """
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
            joint = self._known.get(item)
            if joint is not None:
                if self._blocked:
                    self._room.notify()  # the room that this thread may have waited for is free
            else:
                joint = self._known[item] = _Joint(item)
                joint.attempt = context.attempt
                self._push(joint)
                self._wake_if_due()
            return self._join(joint, context)

    def done(
        self, context: ExecuteContext, result: Any = None, error: BaseException | None = None
    ) -> None:
        """Note that the calling worker is done with its item; equal ones are new from now on."""
        with self._lock:
            self._forget(context)
        super().done(context, result, error)

    def _join(self, joint: _Joint, context: ExecuteContext) -> Future[Any] | None:
        """Add to an item one who wants it."""
        if type(context.future) is Submission:
            shared = joint.future
            if isinstance(shared, _SharedSubmission):
                shared.submitters += 1
                return shared
            context.future = joint.future = _SharedSubmission(self._lock, joint)
        if not context.awaited:
            joint.kept = True
        elif not joint.begun or context.claim():
            joint.waiters.append(context)
        return context.future

    def _forget(self, context: ExecuteContext) -> None:
        if self._known.get(context.item) is context:
            del self._known[context.item]


class StandardBacklog(MemoryBacklog):
    """A backlog in the order of a `queue.Queue` (or a class derived from it).

    Args:
        name: the task's, for errors.
        queue: keeps the order, and says by its ``maxsize`` how many items may wait. What is put
            straight into it comes here.
        workers: the task's worker threads; the list may grow.
    """

    def __init__(self, name: str, queue: queue.Queue[Any], workers: list[threading.Thread]) -> None:
        super().__init__(name, queue.maxsize, workers)
        self._ready = _Order(queue)
        self._discarded: list[ExecuteContext] = []
        for method in ("put", "put_nowait", "get", "get_nowait", "join", "task_done"):
            setattr(queue, method, getattr(self, method))

    def add(self, context: ExecuteContext, block: bool = True, timeout: float | None = None) -> Any:
        """Add an item; cancel the future of one that the queue discards."""
        future = super().add(context, block, timeout)
        if context in self._discarded:
            self._discarded.remove(context)
            context.set_exception(CancelledError(f"The queue of {self.name} has discarded it."))
        return future

    def _push(self, context: ExecuteContext) -> None:
        before = len(self._ready)
        self._ready.queue._put(_Entry(context, next(self._numbers)))
        if len(self._ready) == before:
            self._discarded.append(context)

    def _pop(self) -> ExecuteContext | None:
        return self._ready.queue._get().context if self._ready else None


class _Order:
    """The items in a `queue.Queue`."""

    def __init__(self, queue: queue.Queue[Any]) -> None:
        self.queue = queue

    def __len__(self) -> int:
        return self.queue._qsize()


class _Entry(_Ranked):
    """An item in a `queue.Queue`: ordered, equal and hashed as the item is."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Entry) and bool(self.context.item == other.context.item)

    def __hash__(self) -> int:
        return hash(self.context.item)
