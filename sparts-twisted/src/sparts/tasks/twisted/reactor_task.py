"""TwistedReactorTask: a Twisted reactor as a task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import counter, own
from sparts.errors import LoopStoppedError, UsageError, describe, format_coroutines
from sparts.loops import LoopTask
from sparts.options import Option, dest_of, flag_of, option, source_of
from sparts.tasks.asyncio_loop import AsyncioLoopTask
from sparts.tasks.twisted import global_reactor
from sparts.tasks.twisted.awaiting import deferred_of
from sparts.tasks.twisted.logs import LogBridge, exc_info
from sparts.tasks.twisted.reactors import KINDS, OwnedAsyncioReactor

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from concurrent.futures import Future

    from sparts.tasks.twisted.reactors import OwnedReactor
    from sparts.vservice import VService
    from sparts.vtask import TaskReference

_CANCELLED = (CancelledError, asyncio.CancelledError, concurrent.futures.CancelledError)


class TwistedReactorTask(LoopTask):
    """Runs a Twisted reactor in a thread of its own; it is the global reactor while it lives.

    What `call` calls may return a deferred or be a coroutine function. A process has one such task.
    ``reactor.stop()`` ends the service in order, and the reactor with it. A failure that nothing
    but Twisted catches is logged and counted, and the reactor goes on.
    """

    OPT_PREFIX: ClassVar[str | None] = "twisted"
    LOOP: ClassVar[TaskReference | None] = None
    """The `AsyncioLoopTask` (or `TornadoIOLoopTask`) on whose loop, and in whose thread, the
    reactor is to live; None: it has a loop of its own."""

    reactor_kind: Option[str] = option(
        name="reactor",
        choices=[*KINDS, "asyncio"],
        default="epoll" if "epoll" in KINDS else "select",  # as Twisted chooses on macOS
        reloadable=False,
        help="which of Twisted's reactors to run",
        advanced=True,
    )

    n_callback_errors: counter = counter(help="Failures that nothing but the reactor caught.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._reactor: OwnedReactor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._life: Future[None] | None = None  # of the reactor on another task's loop
        self._bridge = LogBridge(self._uncaught)
        self._awaited: set[Deferred[Any]] = set()  # by calls
        self._ending = False

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS`` and, if there is one, the loop task that the reactor lives on."""
        return cls.DEPS if cls.LOOP is None else (*cls.DEPS, cls.LOOP)

    @property
    def reactor(self) -> Any:
        """The reactor, from `initTask` on; a new one after a restart of the task.

        RuntimeError: it has ended, and none has taken its place.
        """
        if self._reactor is None:
            raise RuntimeError(f"{self.name} has no reactor now: it has ended.")
        return self._reactor

    def new_reactor(self) -> OwnedReactor:
        """Make the reactor; called in `initTask`, and in the reactor's thread at a restart."""
        kind = self._kind()
        if kind != "asyncio":
            return KINDS[kind]()
        self._loop = asyncio.new_event_loop() if self.LOOP is None else self._shared().loop
        return OwnedAsyncioReactor(self._loop)

    def _kind(self) -> str:
        if self.LOOP is None:
            return str(self.reactor_kind)
        source = source_of(self._instance.options, dest_of(type(self), "reactor"))
        if source.explicit and self.reactor_kind != "asyncio":
            flag = flag_of(type(self), "reactor")
            raise UsageError(
                f"{flag} {self.reactor_kind}: {self.name} lives on the asyncio loop of "
                f"{self._shared().name}. Leave {flag} out."
            )
        return "asyncio"

    def _shared(self) -> AsyncioLoopTask:
        assert self.LOOP is not None  # noqa: S101 - asked by who knows
        task: Any = self.service.requireTask(self.LOOP)
        if not isinstance(task, AsyncioLoopTask):
            raise UsageError(f"{self.name}.LOOP is {task.name}, which is no AsyncioLoopTask.")
        return task

    def initTask(self) -> None:  # noqa: N802
        """Make the reactor, so that tasks which live on it can refer to it before it runs."""
        super().initTask()
        global_reactor.reactor._claim(f"{self._instance.name}.{self.name}")
        try:
            self._bridge.begin()
            self._make_reactor()
        except BaseException:
            self._give_up()
            raise

    def check(self) -> None:
        """See whether the reactor can be made."""
        super().check()
        global_reactor.check_installed()
        if self.LOOP is None:
            self.new_reactor().close()
            if self._loop is not None:
                self._loop.close()

    def _make_reactor(self) -> OwnedReactor:
        self._ending = False
        self._reactor = self.new_reactor()
        self._reactor.on_stop = self._stop_wanted
        global_reactor.reactor._lead(self._reactor)
        return self._reactor

    def _stop_wanted(self) -> None:
        self.logger.info("reactor.stop() was called: the service ends")
        self.service.shutdown()

    # -- the life of the reactor -------------------------------------------------------------------

    def _runloop(self) -> None:
        try:
            if self.LOOP is not None:
                self._run_elsewhere()
                return
            reactor = self._reactor or self._make_reactor()
            if isinstance(reactor, OwnedAsyncioReactor):
                self._run_asyncio(self._live(reactor))
            else:
                self._run(reactor)
        finally:
            self.loop_ended()

    def _run(self, reactor: OwnedReactor) -> None:
        try:
            reactor.callWhenRunning(self._opened)
            reactor.run(installSignalHandlers=False)
            self._check_end()
        finally:
            self._end(reactor)

    def _opened(self) -> None:
        self.loop_opened()
        if not self._supervisor.running:
            self._finish()

    async def _live(self, reactor: OwnedAsyncioReactor) -> None:
        """Run the reactor on the asyncio loop that runs this."""
        try:
            reactor.callWhenRunning(self._opened)
            await reactor.serve()
            self._check_end()
        finally:
            self._end(reactor)

    async def _live_here(self) -> None:
        if self._supervisor.running:
            reactor: Any = self._reactor or self._make_reactor()
            await self._live(reactor)

    def _run_asyncio(self, main: Coroutine[Any, Any, None]) -> None:
        """Run an asyncio loop of our own until ``main`` ends, whatever its callbacks raise."""
        loop = self._loop
        assert loop is not None  # noqa: S101 - made with the reactor
        loop.set_exception_handler(self._asyncio_error)
        task = loop.create_task(main, name=f"{self._supervisor.logger.name} main")
        try:
            while not task.done():
                try:
                    loop.run_until_complete(task)
                except (SystemExit, KeyboardInterrupt) as error:
                    self.exit_asked(error)
            task.result()
        finally:
            left = asyncio.all_tasks(loop)
            for other in left:
                other.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            with contextlib.suppress(RuntimeError):  # no thread is left that could wait
                loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()
            self._loop = None

    def _run_elsewhere(self) -> None:
        """Have the reactor live on the loop of another task, which may fail and run again."""
        while self._supervisor.running:
            try:
                self._life = self._shared().call(self._live_here)
            except LoopStoppedError:
                return  # for good, and the service with it
            lives = self._supervisor.running or self._open or self._ending
            if not lives:  # else it ends in order
                self._life.cancel()
            try:
                self._life.result()
                return
            except concurrent.futures.CancelledError:
                return
            except LoopStoppedError:
                self.loop_ended()
                if self._supervisor.running:
                    self._supervisor._restarted()

    def _check_end(self) -> None:
        if not self._ending:
            raise RuntimeError("The reactor ended by itself: something has called its crash().")

    def _end(self, reactor: OwnedReactor) -> None:
        self.loop_closing()
        self._close(reactor)

    def _close(self, reactor: OwnedReactor) -> None:
        for deferred in list(self._awaited):
            deferred.cancel()
        self._awaited.clear()
        global_reactor.reactor._leave()
        self._reactor = None
        reactor.close()

    def _finish(self) -> None:
        """End the reactor: first the calls that are under way, then what Twisted's shutdown is."""
        self._ending = True
        self.loop_closing()
        waiting = list(self._awaited)
        if not waiting:
            self.reactor.end()
            return
        ended: list[Deferred[Any]] = []
        for deferred in waiting:
            ended.append(Deferred())
            deferred.addBoth(ended[-1].callback)
            deferred.cancel()
        DeferredList(ended).addCallback(lambda _: self.reactor.end())

    # -- calls -------------------------------------------------------------------------------------

    def _post(self, callback: Callable[[], object]) -> None:
        self.reactor.callFromThread(callback)

    def _settle(self, future: Future[Any], result: Any) -> None:
        deferred = deferred_of(result, self._reactor, self._loop)
        if deferred is None:
            self.end_call(future, result)
            return
        self._awaited.add(deferred)

        def ended(outcome: Any) -> None:
            self._awaited.discard(deferred)
            if isinstance(outcome, Failure):
                self._settle_error(future, outcome.value or RuntimeError("it failed"))
            else:
                self.end_call(future, outcome)

        def cancelled(future: Future[Any]) -> None:
            if future.cancelled():
                self.post_if_open(deferred.cancel)

        deferred.addBoth(ended)
        future.add_done_callback(cancelled)

    def _settle_error(self, future: Future[Any], error: BaseException) -> None:
        if not isinstance(error, _CANCELLED):
            super()._settle_error(future, error)
        elif self._open:
            future.cancel()
            self.end_call(future)  # else `loop_ended` does, when that is so

    # -- errors ------------------------------------------------------------------------------------

    def _uncaught(self, failure: Failure, what: str) -> None:
        error = failure.value
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.exit_asked(error)
            return
        own(self, TwistedReactorTask.n_callback_errors).increment()
        self.logger.error("%s: %s", what, describe(error), exc_info=exc_info(failure))

    def _asyncio_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        own(self, TwistedReactorTask.n_callback_errors).increment()
        message = context.get("message", "Error in the event loop")
        self.logger.error("%s", message, exc_info=context.get("exception"))

    # -- other threads -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the reactor end."""
        super().stop()
        with self._calls:
            opened, life = self._open, self._life
            if opened:
                self._post(self._finish)
        if life is not None and not opened:  # it waits for the loop of another task
            life.cancel()

    def join(self) -> None:
        """Wait for the end of the reactor, and close it if it never ran."""
        super().join()
        self._give_up()

    def _give_up(self) -> None:
        if self._reactor is not None:
            self._close(self._reactor)
        if self._loop is not None and self.LOOP is None:
            self._loop.close()
        self._loop = None
        self._bridge.end()
        global_reactor.reactor._release()

    def _format_stacks(self) -> str:
        """Return where the reactor's thread is now, and what asyncio runs on its loop."""
        loop = self._loop if self.LOOP is None else None
        return super()._format_stacks() + (format_coroutines(loop) if loop else "")
