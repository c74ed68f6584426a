"""The part of `QueueTask` that works on items, and deals with how each of them ends."""

from __future__ import annotations

from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from sparts.base_work import must_override
from sparts.calls import CallRefusedError, around_work
from sparts.clock import SYSTEM, Clock, retry_delay
from sparts.counters import counter, own, samples
from sparts.errors import FATAL, TryLater, call_plain, describe, refuse_coroutine, text_of
from sparts.generic import Generic, Item, Result
from sparts.option_types import Expected
from sparts.options import Option, option
from sparts.shown import renamed
from sparts.tasks.forms import durations, fitting, log_failure, told
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from functools import cached_property

    from sparts.context import ExecuteContext
    from sparts.tasks.backlog import Backlog


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an option that takes whole numbers from one on."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise Expected(f"a whole number from {least} up")
        return int(text)

    return number


class ItemWork(VTask, Generic[Item, Result]):
    """Takes items from ``queue``, and calls `execute` for each; see `QueueTask`."""

    if TYPE_CHECKING:

        @cached_property
        def queue(self) -> Backlog: ...  # noqa: D102

    MAX_ATTEMPTS: int | None = None
    """How often an item is tried at most; None: as often as it raises `TryLater`."""
    RETRY_AFTER: float = 0.0
    """Seconds until the second attempt; they double with every further one. 0: no wait at all."""
    RETRY_WAIT: float = renamed("RETRY_AFTER")
    RETRY_MAX_WAIT: float = 60.0
    """Seconds that the wait between two attempts grows to at most."""
    RETRY_JITTER: float = 0.1
    """The share of a wait that is random, so that what failed together does not return so."""
    ON_ERROR: ClassVar[Literal["shutdown", "log"]] = "shutdown"
    """What an exception does that nobody waits for: ``"shutdown"`` (it leaves the worker, so that
    the service ends, or ``RESTART`` applies) or ``"log"`` (the task goes on with the next item).
    The first, because the item is lost, and a log line alone is easily missed."""
    CALL_KIND: ClassVar[str] = "queue"
    KEEP_CONTEXT: ClassVar[bool] = True
    """Whether `execute` runs with the context variables (`contextvars`) of who put in the item, as
    far as there are any; False: with those of the worker."""
    clock: Clock = SYSTEM
    """Where time comes from; a test puts its own here, on the class or before the start."""
    max_attempts: Option[int] = option(
        type=at_least(1),
        default=lambda cls: cls.MAX_ATTEMPTS,
        metavar="NUMBER",
        help="how many times an item is tried at most",
        advanced=True,
    )

    execute_duration_ms: samples = durations()
    n_completed: counter = counter(help="Items that execute has done.")
    n_trylater: counter = counter(help="Calls of execute that ended with TryLater.")
    n_unhandled: counter = counter(help="Calls of execute that ended with another exception.")
    n_dead_letters: counter = counter(help="Items given up, by an exception or too many attempts.")

    # -- to override -------------------------------------------------------------------------------

    @must_override
    def execute(self, item: Item, context: ExecuteContext, /) -> Result | Awaitable[Result]:
        """Work on an item; called in a worker thread. See the class for what becomes of the item.

        It may still be called after `running` has become False, see ``DRAIN``.
        """
        raise NotImplementedError(f"{self.name} has nothing to do: write its execute().")

    def on_dead_letter(self, context: ExecuteContext, error: BaseException) -> None:
        """Keep an item that is given up, if it must be kept; called in a worker thread.

        ``error`` is what its last attempt raised. Its future, if it has one, ends afterwards. The
        default does nothing. An exception is logged.
        """

    def retry_after(self, context: ExecuteContext) -> float:
        """Return the seconds until the next attempt when `TryLater` does not say; in a worker.

        The default is ``RETRY_AFTER``, doubled for each further attempt, up to ``RETRY_MAX_WAIT``.
        An exception counts as one of `execute`.
        """
        first, longest = self.RETRY_AFTER, self.RETRY_MAX_WAIT
        return retry_delay(context.attempt - 1, first, longest, self.RETRY_JITTER)

    def work_success(self, context: ExecuteContext, result: Any) -> None:
        """Learn that an item is done; called in a worker thread before the future ends.

        The default does nothing. An exception counts as one of `execute`.
        """

    def work_retry(self, context: ExecuteContext) -> None:
        """Learn that an item will be tried again, ``context.attempt`` being the next attempt.

        Called in a worker thread. The default does nothing. An exception is logged.
        """

    def work_fail(self, context: ExecuteContext, exception: BaseException) -> None:
        """Learn that an item is given up; called in a worker thread before the future ends.

        The default does nothing. An exception is logged.
        """

    def work_done(self, context: ExecuteContext) -> None:
        """Learn that an attempt has ended, after one of the three methods before.

        The default does nothing. An exception is logged.
        """

    # -- the workers -------------------------------------------------------------------------------

    def _runloop(self) -> None:
        """Work on items until the task must stop and, if ``DRAIN``, none is left."""
        take, execute = self.queue.take, around_work(self, fitting(self.execute, 2))
        in_context, own = self.KEEP_CONTEXT, copy_context().copy
        success, succeeded = self._overridden("work_success"), self._finisher()
        late_error: BaseException | None = None
        try:
            while (context := take()) is not None:
                context.begin(self)
                try:
                    if in_context:
                        variables = context.variables = context.variables or own()
                        result = variables.run(execute, context.item, context)
                    else:
                        result = execute(context.item, context)
                    if type(result) is CoroutineType:
                        refuse_coroutine(result, self.name, "execute")
                    if success is not None:
                        call_plain(success, context, result)
                except BaseException as error:
                    late_error = self._failed(context, error) or late_error
                else:
                    succeeded(context, result)
        finally:
            self.queue.worker_left()
        if late_error is not None:
            raise late_error

    def _finisher(self) -> Callable[[ExecuteContext, Any], None]:
        """Make what deals with the results of items; for one worker, which calls it very often."""
        took = own(self, ItemWork.execute_duration_ms).add
        completed = own(self, ItemWork.n_completed).increment
        ended, done = self._overridden("work_done"), self._done

        def finish(context: ExecuteContext, result: Any) -> None:
            took(context.stop() * 1000)
            completed()
            if ended is not None:
                told(self, ended, context)
            done(context, result, None)

        return finish

    def _done(self, context: ExecuteContext, result: Any, error: BaseException | None) -> None:
        """Have the backlog end an item; who waits for it learns if it cannot."""
        try:
            self.queue.done(context, result, error)
        except BaseException as broken:
            item = text_of(context.item, repr)
            log_failure(self, broken, "The outcome of %.200s could not be delivered", item)
            told(self, context.set_exception, broken)

    def _overridden(self, name: str) -> Callable[..., Any] | None:
        """Return a method that does nothing unless it is overridden, or None if it is not."""
        method = getattr(self, name)
        return None if getattr(method, "__func__", None) is getattr(ItemWork, name) else method

    def _failed(self, context: ExecuteContext, error: BaseException) -> BaseException | None:
        """Deal with what left execute; raise it if the worker must end, return it if later."""
        own(self, ItemWork.execute_duration_ms).add(context.stop() * 1000)
        if isinstance(error, TryLater):
            own(self, ItemWork.n_trylater).increment()
            try:
                if not self._try_again(context, error.after):
                    self._lose(context, error)
                return None
            except BaseException as broken:  # of `retry_after`, or of a backlog
                error = broken
        own(self, ItemWork.n_unhandled).increment()
        fatal = isinstance(error, FATAL)
        refused = isinstance(error, CallRefusedError)  # by a plugin: no fault of the worker
        if not fatal and (refused or context.awaited or self.ON_ERROR == "log"):
            self._lose(context, error)
            return None
        if fatal or not self._supervisor.running:
            self._lose(context, error)
            if fatal:
                raise error
            return error  # the stop goes on; what is left comes first
        again = False
        try:
            again = self._supervisor.policy.mode != "never" and self._try_again(context, None)
        finally:
            if not again:
                self._lose(context, error)
        raise error

    def _try_again(self, context: ExecuteContext, after: float | None) -> bool:
        """Have an item wait for its next attempt; False: it has had its last."""
        limit: int | None = self.max_attempts
        if limit is not None and context.attempt >= limit:
            return False
        seconds = max(0.0, float(self.retry_after(context) if after is None else after))
        self.logger.debug(
            "Attempt %d at %.200s failed; again in %g s",
            context.attempt, text_of(context.item, repr), seconds,
        )  # fmt: skip
        context.attempt += 1
        told(self, self.work_retry, context)
        told(self, self.work_done, context)
        self.queue.put_back(context, seconds)
        return True

    def _lose(self, context: ExecuteContext, error: BaseException) -> None:
        """Give up an item for good."""
        own(self, ItemWork.n_dead_letters).increment()
        asked = isinstance(error, TryLater | CallRefusedError)  # whose message says it all
        self.logger.error(
            "Gave up %.200s at attempt %d: %s",
            text_of(context.item, repr), context.attempt, describe(error),
            exc_info=None if asked else error,
        )  # fmt: skip
        told(self, self.queue.bury, context, error)
        told(self, self.on_dead_letter, context, error)
        told(self, self.work_fail, context, error)
        told(self, self.work_done, context)
        self._done(context, None, error)
