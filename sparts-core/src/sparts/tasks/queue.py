"""QueueTask and its kin: worker threads that work off the items which others put in a queue."""

from __future__ import annotations

from concurrent.futures import CancelledError, InvalidStateError
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.clock import SYSTEM, Clock, timeout_of
from sparts.context import ExecuteContext
from sparts.counters import CallbackCounter, SampleType, counter, samples
from sparts.errors import TryLater, UsageError
from sparts.option_types import Expected
from sparts.options import option
from sparts.tasks.backlog import ArrivalBacklog, Backlog
from sparts.tasks.backlogs import PriorityBacklog, UniqueBacklog
from sparts.tasks.mapping import OrderedResults
from sparts.tasks.submission import Submission, deliver
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sparts.vservice import VService

__all__ = ["ExecuteContext", "PriorityQueueTask", "QueueTask", "TryLater", "UniqueQueueTask"]


def _from_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise Expected("a whole number from 1 up")
    return int(text)


class QueueTask(VTask):
    """Calls `execute` in its worker threads for each item of its queue, in order of arrival.

    Items come by ``queue.put(item)``, where nobody waits for the outcome, and by `submit` and
    `map`. What becomes of an item:

    * `execute` returns: that is the result of its future.
    * It raises `TryLater`: the item waits, without a worker, and is tried again, at most
      ``MAX_ATTEMPTS`` times.
    * It raises anything else: that is counted, logged, and the outcome of the item's future or
      deferred. If nobody waits for it, ``ON_ERROR`` says whether it ends the service.
    * It is left when the task has stopped: see ``DRAIN`` and `on_dropped`.
    """

    WORKERS: int = 1
    """How many threads call `execute`."""
    MAX_ITEMS: int = 0
    """How many items may wait; putting in another then waits for room. 0: any number."""
    MAX_ATTEMPTS: int | None = None
    """How often an item is tried at most; None: as often as it raises `TryLater`."""
    RETRY_WAIT: float = 0.1
    """Seconds until the second attempt; they double with every further one."""
    RETRY_MAX_WAIT: float = 60.0
    """Seconds that the wait between two attempts grows to at most."""
    RETRY_JITTER: float = 0.1
    """The share of a wait that is random, so that what failed together does not return so."""
    ON_ERROR: ClassVar[str] = "shutdown"
    """What an exception does that nobody waits for: ``"shutdown"`` (it leaves the worker, so that
    the service ends, or ``RESTART`` applies) or ``"log"`` (the task goes on with the next item).
    The first, because the item is lost, and a log line alone is easily missed."""
    DRAIN: bool = True
    """Whether the items that wait at a stop are worked off, as far as there is time for it."""
    clock: Clock = SYSTEM
    """Where time comes from; a test puts its own here, on the class or before the start."""
    backlog_class: ClassVar[type[Backlog]] = ArrivalBacklog
    """The type of `queue`."""

    workers = option(
        type=_from_one,
        default=lambda cls: cls.WORKERS,
        metavar="NUMBER",
        help="how many threads work on items",
        reloadable=False,
    )
    max_items = option(
        type=int,
        default=lambda cls: cls.MAX_ITEMS,
        metavar="NUMBER",
        help="how many items may wait; 0: any number",
        reloadable=False,
    )
    max_attempts = option(
        type=_from_one,
        default=lambda cls: cls.MAX_ATTEMPTS,
        metavar="NUMBER",
        help="how often an item is tried at most",
        advanced=True,
    )

    execute_duration_ms = samples(
        types=[SampleType.AVG, SampleType.MAX, SampleType.MIN],
        windows=[60, 240],
        help="How long execute took.",
        unit="ms",
    )
    queue_depth = CallbackCounter(lambda self: self.queue.qsize(), help="Items that wait.")
    n_completed = counter(help="Items that execute has done.")
    n_trylater = counter(help="Calls of execute that ended with TryLater.")
    n_unhandled = counter(help="Calls of execute that ended with another exception.")
    n_dead_letters = counter(help="Items given up, by an exception or too many attempts.")
    n_dropped = counter(help="Items left when the task had stopped.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service. Its queue takes items at once."""
        super().__init__(service)
        self.queue = self.backlog_class(self.name, self.max_items, self.threads)

    # -- to override -------------------------------------------------------------------------------

    def execute(self, item: Any, context: ExecuteContext) -> Any:
        """Work on an item; called in a worker thread. See the class for what becomes of the item.

        It may still be called after `running` has become False, see ``DRAIN``.
        """
        raise NotImplementedError(f"{self.name} has nothing to do: write its execute().")

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        """Keep an item that is given up, if it shall be kept; called in a worker thread.

        ``error`` is what its last attempt raised. Its future, if it has one, ends afterwards. The
        default does nothing. An exception is logged.
        """

    def on_dropped(self, items: Sequence[Any]) -> None:
        """Keep the items that are left, if they shall be kept; called once, if there are any.

        First those that are being worked on (they may still be done), then those that wait, in
        order. Their futures have been cancelled. Called in the lifecycle thread before the
        service's time for its stop is over, or else in a thread of its own. The default does
        nothing. An exception ends the service with status 1.
        """

    def retry_after(self, context: ExecuteContext) -> float:
        """Return the seconds until the next attempt when `TryLater` does not say; in a worker."""
        import random  # here, because few need it and it takes its time

        wait = min(self.RETRY_MAX_WAIT, self.RETRY_WAIT * 2.0 ** min(context.attempt - 1, 99))
        return wait * (1 - self.RETRY_JITTER * random.random())  # noqa: S311 - no secret

    # -- to use, from any thread -------------------------------------------------------------------

    def submit(self, item: Any, timeout: float | None = None) -> Submission:
        """Put in an item and return the future of what `execute` makes of it.

        The future always ends: with the result, with the exception, or cancelled at a stop. While
        the item waits for its first attempt, it can be cancelled. A coroutine may ``await`` it.

        Args:
            item: what to work on.
            timeout: seconds to wait for room, if there is none; None: however long it takes.

        Raises:
            queue.Full: there was no room in time; see `Backlog.put`.
            TaskStoppedError: the task is stopping, or has stopped.
        """
        context = ExecuteContext(1, item, None, Submission())
        return self.queue.add(context, True, timeout)  # type: ignore[return-value]

    def map(
        self,
        items: Iterable[Any],
        timeout: float | None = None,
        *,
        progress: Callable[[int, int | None], object] | None = None,
        ahead: int = 1000,
    ) -> Iterator[Any]:
        """Submit items and iterate over their results, in the order of the items.

        Args:
            items: anything that can be iterated over, also without end: at most ``ahead`` items are
                submitted before their results are read.
            timeout: seconds for the whole, from now; None: no limit.
            progress: called in the reader's thread as each result is read, with how many were, and
                how many there will be (None: that is not known).
            ahead: see ``items``.

        Raises:
            TimeoutError: the time is over. Like every other exception of this call and of the
                iterator, it cancels what has not begun.
            queue.Full: there was no room in that time.
            Exception: what `execute` raised for an item.
        """
        return OrderedResults(self.submit, items, timeout, progress, ahead)

    # -- the life of the task ----------------------------------------------------------------------

    def initTask(self) -> None:  # noqa: N802
        """Check how the class is set up; ``UsageError`` if wrongly."""
        super().initTask()
        if self.ON_ERROR not in ("shutdown", "log"):
            raise UsageError(f"{self.name}.ON_ERROR is {self.ON_ERROR!r}: use 'shutdown' or 'log'.")

    def start(self) -> None:
        """Start the workers."""
        self.queue.clock = self.clock
        super().start()

    def stop(self) -> None:
        """Take no more items; have the workers end, after the items that wait if ``DRAIN``."""
        super().stop()
        self.queue.close(self.seconds_to_stop() if self.DRAIN else None)

    def join(self) -> None:
        """Wait for the workers, and give up what they have not done in time."""
        for thread in self.threads:
            thread.join(timeout_of(self.seconds_to_stop()))
        try:
            self._drop(self.queue.give_up())
        finally:
            super().join()

    def abandoned(self) -> None:
        """Give up what is not done."""
        try:
            self._drop(self.queue.give_up())
        except Exception:
            self.logger.exception("%s could not keep the items that were left", self.name)

    def left_out(self) -> None:
        """Give up what was put in: the task will not run."""
        super().left_out()
        self.queue.close(None)
        self.abandoned()

    def _drop(self, left: list[ExecuteContext]) -> None:
        left = [c for c in left if c.future is None or not c.future.cancelled()]
        if not left:
            return
        self.n_dropped.add(len(left))
        self.logger.error(
            "%d items were left when %s had stopped; the first: %.200r",
            len(left), self.name, left[0].item,
        )  # fmt: skip
        for context in left:
            self._end(context, error=CancelledError(f"{self.name} has stopped before it was done."))
        self.on_dropped([context.item for context in left])

    # -- the workers -------------------------------------------------------------------------------

    def _runloop(self) -> None:
        """Work on items until the task is told to stop and, if ``DRAIN``, none is left."""
        queue, execute = self.queue, self.execute
        take, done = queue.take, queue.done
        completed, took = self.n_completed.increment, self.execute_duration_ms.add
        late_error: BaseException | None = None
        try:
            while (context := take()) is not None:
                context.begin(self)
                try:
                    result = execute(context.item, context)
                except BaseException as error:
                    took(context.elapsed * 1000)
                    late_error = self._failed(context, error) or late_error
                else:
                    took(context.elapsed * 1000)
                    completed()
                    done(context)
                    if context.deferred is not None:
                        self._end(context, result)
                    elif (future := context.future) is not None:
                        try:  # noqa: SIM105 - as `_end` does, but most items come here
                            future.set_result(result)
                        except InvalidStateError:
                            pass
        finally:
            queue.worker_left()
        if late_error is not None:
            raise late_error

    def _end(
        self, context: ExecuteContext, result: Any = None, error: BaseException | None = None
    ) -> None:
        try:
            deliver(context, result, error)
        except Exception:
            self.logger.exception("The outcome of %.200r could not be delivered", context.item)

    def _failed(self, context: ExecuteContext, error: BaseException) -> BaseException | None:
        """Deal with what left execute; raise it if the worker shall end, return it if later."""
        if isinstance(error, TryLater):
            self.n_trylater.increment()
            if not self._try_again(context, error.after):
                self._lose(context, error)
            return None
        self.n_unhandled.increment()
        fatal = not isinstance(error, Exception) or isinstance(error, MemoryError)
        awaited = context.future is not None or context.deferred is not None
        if not fatal and (awaited or self.ON_ERROR == "log"):
            self._lose(context, error)
            return None
        if fatal or not self.running:
            self._lose(context, error)
            if fatal:
                raise error
            return error  # the stop goes on; what is left comes first
        if self._supervisor.policy.mode == "never" or not self._try_again(context, None):
            self._lose(context, error)
        raise error

    def _try_again(self, context: ExecuteContext, after: float | None) -> bool:
        """Have an item wait for its next attempt; False: it has had its last."""
        limit: int | None = self.max_attempts
        if limit is not None and context.attempt >= limit:
            return False
        seconds = self.retry_after(context) if after is None else after
        self.logger.debug(
            "Attempt %d at %.200r failed; again in %g s", context.attempt, context.item, seconds
        )
        context.attempt += 1
        self.queue.put_back(context, seconds)
        return True

    def _lose(self, context: ExecuteContext, error: BaseException) -> None:
        """Give up an item for good."""
        self.n_dead_letters.increment()
        asked = isinstance(error, TryLater)  # whose message says it all
        self.logger.error(
            "Gave up %.200r at attempt %d: %s: %s",
            context.item, context.attempt, type(error).__name__, error,
            exc_info=None if asked else error,
        )  # fmt: skip
        try:
            self.on_dead_letter(context, error)
        except Exception:
            self.logger.exception("%s could not keep a dead letter", self.name)
        self.queue.done(context)
        self._end(context, error=error)


class PriorityQueueTask(QueueTask):
    """A `QueueTask` that takes the smallest item first, by ``<``, and of equal ones the oldest.

    Items that cannot be compared count as equal: of ``(priority, anything)`` the ``anything`` may
    be what it likes.
    """

    backlog_class = PriorityBacklog


class UniqueQueueTask(QueueTask):
    """A `QueueTask` that does not add an item which is equal to one that waits or is worked on.

    `submit` then returns the future of that one. Items must be hashable.
    """

    backlog_class = UniqueBacklog
