"""What a queue task works on: a backlog, in memory, on a broker, or one of your own.

A `Backlog` holds the items of a queue task from when they are put in to when they are done. Write
one by subclassing `Backlog` (or `AsyncBacklog`, whose workers are coroutines), return it from
`sparts.tasks.queue.QueueTask.make_backlog`, and try it with
`sparts.testing.backlogs.BacklogContract` (or `sparts.testing.async_backlogs`).

Who calls what:

* Anybody, from any thread: `put`, `put_nowait`, `put_many`, `add`, `get`, `task_done`, `join`,
  `qsize`, `depth`, `empty`, `full`.
* The workers of the task: `take`, then for each item one of `done`, or `put_back`, or `bury` and
  then `done`; at their end `worker_left`.
* The task, in the lifecycle thread: `start`, `close`, `give_up`.

An item is a `sparts.context.ExecuteContext` in here. It owns the future that waits for the outcome:
call its `claim` before a worker gets it, and its `set_result` or `set_exception` when it is done. A
backlog that has sent an item elsewhere subclasses it, so that these reach who waits there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from sparts.clock import SYSTEM
from sparts.context import ExecuteContext
from sparts.errors import TaskStoppedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sparts.clock import Clock
    from sparts.loops import LoopTask

__all__ = ["AsyncBacklog", "Backlog", "Leftovers", "RefusedError"]


class RefusedError(NotImplementedError):
    """This kind of backlog cannot do that; the message says why."""


class Leftovers(NamedTuple):
    """What a backlog has not done when its task has stopped."""

    dropped: list[ExecuteContext]
    """Those that nobody will work on: first those in work, then those that wait, in order."""
    returned: list[ExecuteContext]
    """Those that went back to where other processes, or the next one, take them."""


class Backlog(ABC):
    """Items that wait, that were put off, and that are worked on. Safe for threads.

    Args:
        name: the task's, for errors.
        maxsize: how many items may wait; 0: any number.
    """

    clock: Clock = SYSTEM
    """Where time comes from; the task sets its own before `start`."""

    def __init__(self, name: str, maxsize: int = 0) -> None:
        self.name = name
        self.maxsize = maxsize

    # -- for anybody -------------------------------------------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item (or an `ExecuteContext`, whose future or deferred gets the outcome).

        While as many items wait as may, this waits, at most ``timeout`` seconds. When it returns,
        the item is kept as safely as this backlog keeps items: it returns only after a broker has
        confirmed it.

        Raises:
            queue.Full: there is no room, and no waiting, or not for long enough; or every
                worker of the task would wait for room that only they can make.
            TaskStoppedError: the task is stopping, or has stopped.
        """
        context = item if isinstance(item, ExecuteContext) else ExecuteContext(1, item)
        self.add(context, block, timeout)

    def put_nowait(self, item: Any) -> None:
        """Add an item at once; ``queue.Full`` if there is no room."""
        self.put(item, block=False)

    def put_many(
        self, items: Iterable[Any], block: bool = True, timeout: float | None = None
    ) -> None:
        """Add items as `put` does, each within ``timeout`` seconds.

        After an error, those before it have been added. Override it where many together cost less.
        """
        for item in items:
            self.put(item, block, timeout)

    @abstractmethod
    def add(self, context: ExecuteContext, block: bool = True, timeout: float | None = None) -> Any:
        """Add an item as `put` does, and return the future that gets its outcome, if one does.

        `QueueTask.submit` calls it with the future that it returns.
        """

    @abstractmethod
    def qsize(self) -> int:
        """How many items wait, those that were put off among them. It may ask a broker and wait.

        Raises:
            RefusedError: that cannot be known.
        """

    def depth(self) -> int | None:
        """`qsize` for the counter ``queue_depth``: never waits, so it may be what was known last.

        The default is `qsize`, and None if that is refused. The counter is left out for None.
        """
        try:
            return self.qsize()
        except RefusedError:
            return None

    def empty(self) -> bool:
        """Whether no item waits; see `qsize`."""
        return not self.qsize()

    def full(self) -> bool:
        """Whether there is no room for another item; see `qsize`."""
        return 0 < self.maxsize <= self.qsize()

    def join(self) -> None:
        """Wait until no item waits or is worked on.

        Raises:
            RefusedError: the default, for a backlog that others put items in and take them from.
        """
        raise RefusedError(
            f"{self.name} cannot be joined: {type(self).__name__} does not know when all is done."
        )

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take an item out by hand, and work on it outside of the task; then call `task_done`.

        If somebody waits for the outcome, that is the `ExecuteContext`: call its ``set_result`` or
        ``set_exception``.

        Raises:
            queue.Empty: none came within ``timeout`` seconds, or at once with ``block=False``.
            TaskStoppedError: the task is stopping.
            RefusedError: the default.
        """
        raise RefusedError(f"Only the workers of {self.name} take its items.")

    def get_nowait(self) -> Any:
        """Take an item out by hand, at once; ``queue.Empty`` if none waits."""
        return self.get(block=False)

    def task_done(self) -> None:
        """Note that an item from `get` is done; ``ValueError`` if called too often."""
        raise RefusedError(f"Only the workers of {self.name} take its items.")

    # -- for the workers ---------------------------------------------------------------------------

    @abstractmethod
    def take(self) -> ExecuteContext | None:
        """Wait for an item, `ExecuteContext.claim` it and return it; None: the worker must end.

        What cannot be claimed was cancelled, and is passed over. A worker has one item at a time.
        """

    @abstractmethod
    def done(
        self, context: ExecuteContext, result: Any = None, error: BaseException | None = None
    ) -> None:
        """Finish the calling worker's item: forget it, and hand the outcome to who waits for it.

        A remote backlog sends the outcome first, and acknowledges the item then. An exception is
        logged, and ends the future of the item if that has not ended.
        """

    def bury(self, context: ExecuteContext, error: BaseException) -> None:  # noqa: B027 - optional
        """Keep an item that is given up, where others find it; called by its worker.

        Called before `QueueTask.on_dead_letter`, so that the item is safe whatever that does; then
        `done` is called with the error. The default keeps nothing. An exception is logged, and
        `done` is called all the same: an item that could not be kept must not be forgotten there.
        """

    @abstractmethod
    def put_back(self, context: ExecuteContext, seconds: float) -> bool:
        """Have the calling worker's item come again after ``seconds``; False if it was given up.

        ``context.attempt`` is that of the next attempt. It waits without a worker, needs no room,
        and who waits for its outcome waits on.
        """

    @abstractmethod
    def worker_left(self) -> None:
        """Note that the calling worker ends, or pauses after a failure. It has no item any more."""

    # -- for the task ------------------------------------------------------------------------------

    def start(self) -> None:  # noqa: B027 - optional
        """Begin to work: connect, consume; called once, before the first `take`.

        `add` may be called before. The default does nothing. An exception fails the start.
        """

    @abstractmethod
    def close(self, drain: float | None) -> None:
        """Take no more items: `add` raises `closed_error`, also where it waits for room.

        Those that there are may still be taken for ``drain`` seconds (``inf``: for any time; None:
        not at all); then, and when none is left, `take` returns None to every worker. Called again
        with None, it ends the drain. A remote backlog stops consuming, so that only what this
        process has got is drained. It must not wait.
        """

    @abstractmethod
    def give_up(self) -> Leftovers:
        """End it all, and return what is not done, once; called after `close`.

        The task ends the futures of what is dropped. A remote backlog also ends those which wait
        here for what is done elsewhere. Later calls of workers have no effect.
        """

    def closed_error(self) -> TaskStoppedError:
        """Return what `add` raises when the backlog is closed."""
        return TaskStoppedError(
            f"{self.name} takes no more items: it is stopping. What is put to it now would never "
            f"be worked on."
        )


class AsyncBacklog(Backlog):
    """A backlog whose workers are coroutines of one loop.

    They call `take_async` instead of `take`. The other methods for workers are called in the loop
    and must not wait: what takes its time (an acknowledgement, a confirmation) goes on afterwards.
    """

    @abstractmethod
    def live_on(self, loop_task: LoopTask) -> None:
        """Learn on which loop the workers live; called once, before `start`."""

    @abstractmethod
    async def take_async(self) -> ExecuteContext | None:
        """Wait for an item as `take` does."""

    def take(self) -> ExecuteContext | None:
        """Refuse: only coroutines take items."""
        raise RefusedError(f"{self.name} has coroutines for workers.")
