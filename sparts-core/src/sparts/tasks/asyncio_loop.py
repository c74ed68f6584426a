"""AsyncioLoopTask: an asyncio event loop as a task, watched for what blocks it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import selectors
import threading
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sparts.accept_faults import AcceptFaults
from sparts.counters import counter, own
from sparts.errors import format_coroutines, format_thread, text_of
from sparts.loops import LoopTask
from sparts.option_types import duration
from sparts.options import Option, flag_of, option

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future


T = TypeVar("T")

#: Seconds that coroutines may take to end after the loop itself has failed.
CRASH_GRACE = 5.0


class AsyncioLoopTask(LoopTask):
    """Runs an asyncio event loop in a thread of its own.

    An exception in a callback of the loop is logged and counted, and the loop goes on; `SystemExit`
    and `KeyboardInterrupt` end the service in order, and the loop goes on until then. At the stop,
    coroutines that still run are cancelled and waited for.
    """

    OPT_PREFIX: ClassVar[str | None] = "asyncio"

    uvloop: Option[bool] = option(
        default=False,
        reloadable=False,
        help="run uvloop's event loop (needs sparts-core[uvloop])",
        advanced=True,
    )
    slow_callback: Option[float] = option(
        type=duration,
        default=1.0,
        metavar="DURATION",
        reloadable=False,
        help="warn when the loop is blocked for longer, and show where; 0: never",
        advanced=True,
    )

    n_callback_errors: counter = counter(help="Exceptions that nothing but the event loop caught.")
    n_slow_callbacks: counter = counter(help="Warnings that the event loop was blocked.")

    _loop: asyncio.AbstractEventLoop | None = None
    _watch: LoopWatch | None = None
    _end: asyncio.Future[None] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop, from `initTask` on; a new one after a restart of the task.

        RuntimeError: it has ended, and none has taken its place.
        """
        if self._loop is None:
            raise RuntimeError(f"{self.name} has no event loop now: it has ended.")
        return self._loop

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Make the event loop; called in `initTask`, and in the loop's thread at a restart.

        Override it to bring another kind, which is not watched for callbacks that block it.
        """
        threshold = self.slow_callback or 0.0
        if self.uvloop:
            from sparts.tasks.watched_uvloop import uvloop_loop

            flag = flag_of(type(self), "uvloop")
            watch_of = partial(LoopWatch, threshold, self._blocked) if threshold else None
            loop, self._watch = uvloop_loop(flag, watch_of)
        else:
            loop, self._watch = asyncio_loop(threshold, self._blocked)
        return loop

    def close_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the event loop; called in its thread at its end, or where it never ran."""
        loop.close()

    def initTask(self) -> None:  # noqa: N802
        """Make the loop, so that tasks which live on it can refer to it before it runs."""
        super().initTask()
        self._make_loop()

    def check(self) -> None:
        """See whether the event loop can be made."""
        super().check()
        self.close_loop(self.new_loop())

    def _make_loop(self) -> asyncio.AbstractEventLoop:
        self._loop = self.new_loop()
        self._accept_faults = AcceptFaults(self)
        self._loop.set_exception_handler(self._report)
        return self._loop

    # -- the loop's thread -------------------------------------------------------------------------

    def _runloop(self) -> None:
        loop = self._loop or self._make_loop()
        watch = self._watch
        grace: float | None = CRASH_GRACE
        try:
            self._complete(loop, self._serve())
            grace = None
        finally:
            try:
                self.loop_closing()
                self._complete(loop, _wind_up(grace))
            finally:
                if watch is not None:
                    watch.stop()
                self._loop = self._end = None
                self.close_loop(loop)
                self.loop_ended()

    def _complete(self, loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, None]) -> None:
        """Run the loop until ``main`` ends, whatever its callbacks raise."""
        task = loop.create_task(main, name=f"{self._supervisor.logger.name} main")
        while not task.done():
            try:
                loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                self.exit_asked(error)

    async def _serve(self) -> None:
        self._end = asyncio.get_running_loop().create_future()
        self.loop_opened()
        if self._watch is not None:
            self._watch.start(f"{self._supervisor.logger.name} watch")
        if self._supervisor.running:
            await self._end

    def _finish(self) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(None)

    def _post(self, callback: Callable[[], object]) -> None:
        self.loop.call_soon_threadsafe(callback)

    def _settle(self, future: Future[Any], result: Any) -> None:
        if not hasattr(result, "__await__"):
            self.end_call(future, result)
            return
        task = asyncio.ensure_future(result, loop=asyncio.get_running_loop())

        def ended(task: asyncio.Future[Any]) -> None:
            try:
                self.end_call(future, task.result())
            except asyncio.CancelledError as error:
                self._settle_error(future, error if self._open else self._stopped_error())
            except BaseException as error:  # SystemExit, too: it has met the loop already
                self.end_call(future, error=error)

        def cancelled(future: Future[Any]) -> None:
            if future.cancelled() and not task.done():
                self.post_if_open(task.cancel)

        task.add_done_callback(ended)
        future.add_done_callback(cancelled)

    def _settle_error(self, future: Future[Any], error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):
            future.cancel()
            self.end_call(future)
        else:
            super()._settle_error(future, error)

    def _report(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, asyncio.CancelledError) and not self._open:
            return  # streams of asyncio 3.11 do so for each connection that the end cancels
        if self._accept_faults.take(loop, context):
            return
        own(self, AsyncioLoopTask.n_callback_errors).increment()
        details = "".join(
            f"\n{key}: {text_of(context[key], repr)}"
            for key in ("task", "future", "handle", "transport", "asyncgen")
            if key in context
        )
        message = context.get("message", "Error in the event loop")
        self.logger.error("%s%s", message, details, exc_info=error)

    # -- other threads -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the loop end."""
        super().stop()
        self.post_if_open(self._finish)

    def join(self) -> None:
        """Wait for the end of the loop, and close it if it never ran."""
        super().join()
        loop, self._loop = self._loop, None
        if loop is not None:
            self.close_loop(loop)

    def _blocked(self, seconds: float) -> None:
        own(self, AsyncioLoopTask.n_slow_callbacks).increment()
        stack = "".join(map(format_thread, self._supervisor.threads))
        self.logger.warning("The event loop has been blocked for %.3g s by\n%s", seconds, stack)

    def _format_stacks(self) -> str:
        """Return where the loop's thread and each of its coroutines are now."""
        loop = self._loop
        return super()._format_stacks() + (format_coroutines(loop) if loop else "")


async def _wind_up(grace: float | None) -> None:
    """Cancel what still runs on the loop and wait for its end; at most ``grace`` seconds."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=grace)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    if grace is None:
        with contextlib.suppress(RuntimeError):  # no thread is left for it: close() ends it
            await loop.shutdown_default_executor()


# -- the watch -------------------------------------------------------------------------------------


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
