"""Loops: `LoopTask` owns one event loop in one thread; `LoopBoundTask` lives on such a loop.

`LoopTask.call` is the one way into a loop from outside. Every loop keeps this contract, whatever
its make (`sparts.testing.loops` tests it):

* ``call(fn, *args)`` runs ``fn`` in the loop's thread, from any thread, and gives a future of its
  result; what an ``fn`` returns that can be awaited is awaited there.
* Calls run in the order in which one thread made them. Calls made before the loop runs, or between
  its failure and its restart, wait for it.
* Every future ends: when the loop ends first, with `LoopStoppedError`.
* What a call raises goes to its future and nowhere else, but `SystemExit` and `KeyboardInterrupt`
  also end the service in order. An exception that nothing but the loop catches is logged and
  counted. The loop goes on after each of them.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, cast, overload

from sparts.errors import LoopStoppedError, StartError
from sparts.shown import service_of
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sparts.vtask import TaskReference

P = ParamSpec("P")
T = TypeVar("T")


class LoopTask(VTask):
    """Owns one event loop, which runs in the task's one worker thread.

    An implementation overrides `_post`, `_settle` if its loop has awaitables of its own, and
    `_runloop`: to run its loop until `stop`, with `loop_opened` when it is about to run,
    `loop_closing` when it winds down and `loop_ended` at the end, also when it fails.
    """

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self._calls = threading.Lock()  # guards what follows
        self._open = self._over = False
        self._settled = threading.Event()  # set when it is either
        self._early: dict[Future[Any], Callable[[], None]] = {}
        self._unfinished: set[Future[Any]] = set()

    # -- to use ------------------------------------------------------------------------------------

    @property
    def open(self) -> bool:
        """Whether the loop runs: calls do not wait for its start or restart."""
        return self._open

    @overload
    def call(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function in the loop's thread, from any thread, and return a future of its result.

        What it returns is awaited if it can be. Do not wait for the future in the loop's own
        thread. Cancelling the future keeps the function from being called, or cancels what is
        awaited. The future ends with `LoopStoppedError` when the loop ends before the call does.

        Raises:
            LoopStoppedError: the loop has ended for good.
        """
        future: Future[Any] = Future()
        context = copy_context()

        def run() -> None:
            if not self._open:
                self.end_call(future, error=self._stopped_error())
            elif future.cancelled():
                self.end_call(future)
            else:
                try:
                    self._settle(future, fn(*args, **kwargs))
                except BaseException as error:
                    self._settle_error(future, error)

        with self._calls:
            if self._over:
                raise self._stopped_error()
            self._unfinished.add(future)
            if self._open:
                self._post(partial(context.run, run))
            else:
                self._early[future] = partial(context.run, run)
        return future

    def start(self) -> None:
        """Start the loop's thread, and return when the loop runs.

        Raises:
            StartError: it did not come to run; the cause is in the log.
        """
        super().start()
        self._settled.wait()
        if self._over:
            raise StartError(f"The loop of {self.name} ended while it was started.")

    def join(self) -> None:
        """Wait for the end of the loop's thread; after this, a call raises."""
        super().join()
        self._workers_left()

    # -- for implementations -----------------------------------------------------------------------

    @abstractmethod
    def _post(self, callback: Callable[[], object]) -> None:
        """Have the running loop call ``callback`` in its thread; called from any thread, never
        blocks.
        """

    def _settle(self, future: Future[Any], result: Any) -> None:
        """End a call's future with what its function returned; called in the loop's thread."""
        self.end_call(future, result)

    def _settle_error(self, future: Future[Any], error: BaseException) -> None:
        """End a call's future with what its function raised; called in the loop's thread."""
        self.end_call(future, error=error)
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self.exit_asked(error)

    def end_call(
        self, future: Future[Any], result: Any = None, error: BaseException | None = None
    ) -> None:
        """End a call's future, unless it has ended; from any thread."""
        with self._calls:
            if future not in self._unfinished:
                return
            self._unfinished.remove(future)
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def exit_asked(self, error: BaseException) -> None:
        """End the service in order as a `SystemExit` or `KeyboardInterrupt` in the loop asks."""
        self._supervisor.end_service(error)

    def loop_opened(self) -> None:
        """Let calls in; call it in the loop's thread when the loop is about to run."""
        with self._calls:
            self._open = True
            self._settled.set()
            for callback in self._early.values():
                self._post(callback)
            self._early.clear()

    def loop_closing(self) -> None:
        """Begin no more calls; call it in the loop's thread when the loop winds down."""
        with self._calls:
            self._open = False

    def loop_ended(self) -> None:
        """End the calls that the loop did not get to the end of; call it when the loop has
        ended. Those that came after `loop_closing` wait for its restart.
        """
        with self._calls:
            left = self._unfinished - self._early.keys()
        for future in left:
            self.end_call(future, error=self._stopped_error())

    def post_if_open(self, callback: Callable[[], object]) -> None:
        """Have the loop call ``callback`` in its thread if it runs; from any thread."""
        with self._calls:
            if self._open:
                self._post(callback)

    def _workers_left(self) -> None:
        """End all calls: the loop has ended for good."""
        super()._workers_left()
        with self._calls:
            self._over, self._open = True, False
            self._settled.set()
            self._early.clear()
        self.loop_ended()
        for task in self._instance.tasks:
            if isinstance(task, LoopBoundTask) and self._instance.tasks.get(task.LOOP) is self:
                task._workers_left()

    def _stopped_error(self) -> LoopStoppedError:
        return LoopStoppedError(f"The loop of {self.name} has ended.")


class LoopBoundTask(VTask):
    """Lives on the loop of a `LoopTask`, which it names in ``LOOP`` and so depends on.

    Override `start_in_loop` and `stop_in_loop`, plain or ``async``. It has no thread, unless its
    class has a ``_runloop``: then ``workers`` threads run that from the end of the start on.
    """

    LOOPLESS = True
    MAY_BE_ASYNC = ("start_in_loop", "stop_in_loop")
    LOOP: ClassVar[TaskReference]
    """The loop task that this task lives on: its class or a name."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        own = cls.__mro__[: cls.__mro__.index(LoopBoundTask)]
        names = {name for base in own for name in vars(base)}
        if "_runloop" in names and "LOOPLESS" not in names:
            cls.LOOPLESS = False

    _begun = False  # used in the loop's thread, or while the loop does not run
    _starting: Future[Any] | None = None
    _start_given_up = False
    _stopped: Future[Any] | None = None

    @classmethod
    def _dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS`` and the loop task."""
        return (*cls.DEPS, cls.LOOP)

    @property
    def loop_task(self) -> LoopTask:
        """The loop task that this task lives on."""
        return cast("LoopTask", service_of(self)._instance.tasks.require(self.LOOP))

    def start_in_loop(self) -> Any:
        """Begin to work; called in the loop's thread, at the start and when the loop was restarted.

        May be ``async``. The default does nothing. An exception fails the start of the service; at
        a restart it ends the service.
        """

    def stop_in_loop(self) -> Any:
        """End the work; called in the loop's thread if `start_in_loop` was, even if that raised.

        May be ``async``: the service waits for it. Not called when the loop itself has failed since
        then. The default does nothing. An exception is logged, the stop goes on, and the service
        ends with status 1.
        """

    def start(self) -> None:
        """Run `start_in_loop` in the loop, and return when it has ended; cancel it if the service
        must stop meanwhile. Then start the worker threads, if there is a ``_runloop``.
        """
        self._starting = self.loop_task.call(self._begin_in_loop)
        if self._start_given_up:
            self._starting.cancel()
        try:
            self._starting.result()
        except CancelledError:
            if not self._start_given_up:
                raise
        else:
            VTask.start(self)  # not what a second base class does, too

    def _give_up_start(self) -> None:
        """Cancel a `start_in_loop` that has not ended."""
        self._start_given_up = True
        if self._starting is not None:
            self._starting.cancel()

    def _begin_in_loop(self) -> Any:
        if not self._supervisor.running:
            return None
        self._begun = True
        return self.start_in_loop()

    def stop(self) -> None:
        """Have `stop_in_loop` run in the loop; `join` waits for its end."""
        super().stop()
        if self.loop_task.open:  # else nothing of ours runs there, nor will: see `_begin_in_loop`
            try:
                self._stopped = self.loop_task.call(self._end_in_loop)
            except LoopStoppedError:  # it has failed since
                self._stopped = None

    def _end_in_loop(self) -> Any:
        return self.stop_in_loop() if self._begun else None

    def join(self) -> None:
        """Wait for the end of `stop_in_loop`, and of the worker threads."""
        try:
            if self._stopped is not None:
                self._stopped.result()
        except LoopStoppedError:
            self._stopped = None
        finally:
            VTask.join(self)

    def on_dependency_restarted(self, task: VTask) -> None:
        """Start again in the loop that runs again."""
        if task is self.loop_task:
            self._begun = False
            self.loop_task.call(self._begin_in_loop).add_done_callback(self._started_again)

    def _started_again(self, future: Future[Any]) -> None:
        try:
            future.result()
        except BaseException as error:
            # The loop's own supervision acts on its failure, and the call on what is no Exception.
            if isinstance(error, Exception) and not isinstance(error, LoopStoppedError):
                self._supervisor.fail(error)
