"""QueueTask: worker threads that process queued items."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from functools import cached_property
from queue import Queue
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import timeout_of
from sparts.context import ExecuteContext
from sparts.counters import CallbackCounter, counter, own
from sparts.errors import TryLater, UsageError, call_plain, text_of
from sparts.generic import Item, Result
from sparts.options import Option, option
from sparts.tasks.backlog import Backlog
from sparts.tasks.backlogs import PriorityBacklog, StandardBacklog, UniqueBacklog
from sparts.tasks.forms import told
from sparts.tasks.item_work import ItemWork, at_least
from sparts.tasks.mapping import ProgressBar, ordered_results
from sparts.tasks.memory_backlog import ArrivalBacklog, MemoryBacklog
from sparts.tasks.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from sparts.vservice import VService

    Progress: TypeAlias = Callable[[int, int | None], object]

__all__ = ["ExecuteContext", "PriorityQueueTask", "QueueTask", "TryLater", "UniqueQueueTask"]


class QueueTask(ItemWork[Item, Result]):
    """Calls `execute` in its worker threads for each item of its queue, in order of arrival.

    Items come by ``queue.put(item)``, where nobody waits for the outcome, and by `submit`, `map`
    and `imap`. ``QueueTask[Item, Result]`` says of which types they and their results are. What
    becomes of an item:

    * `execute` returns: that is the result of its future.
    * It raises `TryLater`: the item waits, without a worker, and is tried again, at most
      ``MAX_ATTEMPTS`` times.
    * It raises anything else: that is counted, logged, and the outcome of the item's future or
      deferred. If nobody waits for it, ``ON_ERROR`` says whether it ends the service.
      `SystemExit`, `KeyboardInterrupt` and `MemoryError` always end it.
    * It is left when the task has stopped: see ``DRAIN`` and `on_dropped`.

    Where the items are meanwhile is the matter of its backlog: `make_backlog`.
    """

    WORKERS: int = 1
    """How many threads call `execute`; 0: none, in a service that only puts items in."""
    MAX_ITEMS: int = 0
    """How many items may wait; putting in another then waits for room. 0: any number."""
    DRAIN: bool = True
    """Whether the items that wait at a stop are processed, as far as there is time for it."""
    backlog_class: ClassVar[type[MemoryBacklog]] = ArrivalBacklog
    """The kind of backlog in memory."""
    _KIND: ClassVar[Any] = Backlog

    workers: Any = option(
        type=at_least(0),
        default=lambda cls: cls.WORKERS,
        metavar="NUMBER",
        help="how many items are processed at a time",
        reloadable=False,
    )
    max_items: Option[int] = option(
        type=int,
        default=lambda cls: cls.MAX_ITEMS,
        metavar="NUMBER",
        help="how many items may wait; 0: any number",
        reloadable=False,
    )
    queue_depth: CallbackCounter = CallbackCounter(
        lambda self: self.queue.depth(), help="Items that wait."
    )
    n_dropped: counter = counter(
        help="Items left when the task had stopped, which nobody will process."
    )
    n_returned: counter = counter(
        help="Items left when the task had stopped, for other processes to take."
    )

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._leftovers: list[ExecuteContext] = []  # for `on_dropped`
        self._handing_over = threading.Lock()

    @cached_property
    def queue(self) -> Backlog:
        """The backlog; it takes items from the first time that anybody asks for it."""
        with self._instance.health.changing:  # one, also when two threads ask at once
            if (made := vars(self).get("queue")) is None:
                made = self._makeQueue()
                if isinstance(made, Queue):
                    made = StandardBacklog(self.name, made, self._supervisor.threads)
                vars(self)["queue"] = made
        return made

    # -- to override -------------------------------------------------------------------------------

    def make_backlog(self) -> Backlog:
        """Return where the items are kept; called once, at the first use of `queue`.

        The default is a ``backlog_class``, which keeps them in the memory of this process:
        `sparts.tasks.backlog` says how to write another. Called in the thread that uses it first,
        at the latest in `initTask`.
        """
        return self.backlog_class(self.name, self.max_items, self._supervisor.threads)

    def _makeQueue(self) -> Backlog | Queue[Any]:  # noqa: N802 - the established name
        """Return `make_backlog`, or a `queue.Queue` whose order and ``maxsize`` are used."""
        return self.make_backlog()

    def on_dropped(self, items: Sequence[Any]) -> None:
        """Keep the items that are left, if they must be kept; called once, if there are any.

        First those that are being worked on (they may still be done), then those that wait, in
        order. Their futures have been cancelled. Called in the lifecycle thread before the
        service's time for its stop is over, or else in a thread of its own. The default does
        nothing. An exception ends the service with status 1.
        """

    # -- to use, from any thread -------------------------------------------------------------------

    def submit(self, item: Item, timeout: float | None = None) -> Submission[Result]:
        """Put in an item and return the future of what `execute` makes of it.

        The future always ends: with the result, with the exception, or cancelled at a stop. While
        the item waits for its first attempt, it can be cancelled. A coroutine may ``await`` it.

        Args:
            item: what to work on.
            timeout: seconds to wait for room, if there is none; None: however long it takes.

        Raises:
            queue.Full: there was no room in time; see `sparts.tasks.backlog.Backlog.put`.
            TaskStoppedError: the task is stopping, or has stopped.
        """
        future: Submission[Result] = Submission()
        return self.queue.add(ExecuteContext(1, item, None, future), True, timeout)  # type: ignore[no-any-return]

    def put_many(self, items: Iterable[Item], timeout: float | None = None) -> None:
        """Put in items for whose outcome nobody waits, together where the backlog can do that.

        Args:
            items: what to work on.
            timeout: seconds to wait for room for each, as for `submit`, which raises the same.
        """
        self.queue.put_many(items, True, timeout)

    def map(
        self,
        items: Iterable[Item],
        timeout: float | None = None,
        *,
        progress: Progress | bool | None = None,
    ) -> list[Result]:
        """Submit items, wait until all are done, and return their results in the order of the
        items.

        `imap` says what ``timeout`` and ``progress`` are, and what is raised. An item that fails
        cancels what has not begun.
        """
        return list(self.imap(items, timeout, progress=progress))

    def imap(
        self,
        items: Iterable[Item],
        timeout: float | None = None,
        *,
        progress: Progress | bool | None = None,
        ahead: int = 1000,
    ) -> Iterator[Result]:
        """Submit items and iterate over their results, in the order of the items.

        Args:
            items: anything that can be iterated over, also without end: at most ``ahead`` items are
                submitted before their results are read.
            timeout: seconds for the whole, from now; None: no limit.
            progress: called in the reader's thread as each result is read, with how many were, and
                how many there will be (None: that is not known). True shows a bar on standard error
                if that is a terminal (needs ``sparts-core[progress]``).
            ahead: see ``items``.

        Raises:
            TimeoutError: the time is over. Like every other exception of this call and of the
                iterator, it cancels what has not begun.
            queue.Full: there was no room in that time.
            UsageError: ``progress`` is True, and the extra is missing.
            Exception: what `execute` raised for an item.
        """
        if progress is True:
            progress = ProgressBar(self.name)
        return ordered_results(self.submit, items, timeout, progress or None, ahead)

    # -- the life of the task ----------------------------------------------------------------------

    def initTask(self) -> None:  # noqa: N802
        """Warn of a task without workers; ``UsageError`` if `make_backlog` returned none."""
        super().initTask()
        if not isinstance(self.queue, self._KIND):
            kind, what = self._KIND.__name__, text_of(self.queue, repr)
            self.queue = MemoryBacklog(self.name, 0, [])  # what comes all the same is given up
            raise UsageError(f"{self.name} has no {kind}: make_backlog() returned {what}.")
        if isinstance(self.queue, MemoryBacklog) and not self.workers:
            self.logger.warning(
                "%s has no workers: its items wait here until somebody calls queue.get()", self.name
            )

    def start(self) -> None:
        """Start the backlog and the workers."""
        self.queue.clock = type(self).clock
        self.queue.start()
        super().start()

    def stop(self) -> None:
        """Take no more items; have the workers end, after the items that wait if ``DRAIN``."""
        super().stop()
        self.queue.close(self.seconds_to_stop() if self.DRAIN else None)

    def join(self) -> None:
        """Wait for the workers, and give up what they have not done in time."""
        for thread in self._supervisor.threads:
            thread.join(timeout_of(self.seconds_to_stop()))
        try:
            self._give_up()
            self._hand_over()
        finally:
            super().join()

    def _workers_left(self) -> None:
        """End what others wait for: no worker is left to do it."""
        super()._workers_left()
        self.queue.close(None)
        self._give_up()

    def _abandoned(self) -> None:
        """Give up what is not done."""
        told(self, self._give_up)
        told(self, self._hand_over)

    def _left_out(self) -> None:
        """Give up what was put in: the task will not run."""
        super()._left_out()
        self._abandoned()

    def _give_up(self) -> None:
        """End the futures of what is left, and keep it for `on_dropped`."""
        with self._handing_over:  # so that nobody hands over before all is in it
            dropped, returned = self.queue.give_up()
            self._leftovers += dropped
            own(self, QueueTask.n_dropped).add(len(dropped))
            own(self, QueueTask.n_returned).add(len(returned))
        if returned:
            self.logger.info("Items of %s left to other processes: %d", self.name, len(returned))
        if not dropped:
            return
        self.logger.error(
            "Items left when %s had stopped: %d; the first: %.200s",
            self.name, len(dropped), text_of(dropped[0].item, repr),
        )  # fmt: skip
        error = CancelledError(f"{self.name} has stopped before it was done.")
        for context in dropped:
            told(self, context.set_exception, error)

    def _hand_over(self) -> None:
        with self._handing_over:
            left, self._leftovers = self._leftovers, []
        if left:
            call_plain(self.on_dropped, [context.item for context in left])


class PriorityQueueTask(QueueTask[Item, Result]):
    """A `QueueTask` that takes the smallest item first, by ``<``, and of equal ones the oldest.

    Items that cannot be compared count as equal: of ``(priority, anything)`` the ``anything`` may
    be what it likes.
    """

    backlog_class: ClassVar[type[MemoryBacklog]] = PriorityBacklog


class UniqueQueueTask(QueueTask[Item, Result]):
    """A `QueueTask` that does not add an item which is equal to one that waits or is worked on.

    `submit` then returns the future of that one. An item is worked on while anybody who added it
    still wants it; ``queue.put`` always does. Items must be hashable.
    """

    backlog_class: ClassVar[type[MemoryBacklog]] = UniqueBacklog
