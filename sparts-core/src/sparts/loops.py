"""Loops: `LoopTask` owns one event loop in one thread; `LoopBoundTask` lives on such a loop.

`LoopTask.call` is the one way into a loop from outside. Every loop keeps this contract, whatever
its make:

* ``call(fn, *args)`` runs ``fn`` in the loop's thread, from any thread, and gives a future of its
  result; what an ``fn`` returns that can be awaited is awaited there.
* Calls run in the order in which one thread made them. Calls made before the loop runs wait for it.
* Every future ends: when the loop ends first, with `LoopStoppedError`.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, overload

from sparts.errors import LoopStoppedError, StartError
from sparts.states import TaskState
from sparts.vtask import VTask

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sparts.taskset import TaskReference

P = ParamSpec("P")
T = TypeVar("T")
_ENDED = (TaskState.STOPPED, TaskState.DEAD, TaskState.DONE, TaskState.SKIPPED)


class LoopTask(VTask):
    """Owns one event loop, which runs in the task's one worker thread.

    An implementation overrides `_runloop` to run its loop until `stop`, between `loop_opened` and
    `loop_ended`; `_post`; and `_settle` if its loop has awaitables of its own.
    """

    def __init__(self, service: Any) -> None:
        super().__init__(service)
        self._calls = threading.Lock()
        self._open = False
        self._early: list[Callable[[], None]] = []
        self._unfinished: set[Future[Any]] = set()

    # -- to use ------------------------------------------------------------------------------------

    @overload
    def call(
        self, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]: ...
    @overload
    def call(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]: ...
    def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function in the loop's thread, from any thread, and return a future of its result.

        What it returns is awaited if it can be. Do not wait for the future in the loop's own
        thread. The future ends with `LoopStoppedError` when the loop ends before the call does.

        Raises:
            LoopStoppedError: the loop has ended for good.
        """
        future: Future[Any] = Future()

        def run() -> None:
            if future.cancelled():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                settle(future, error=error)
                if not isinstance(error, Exception):
                    raise
            else:
                self._settle(future, result)

        with self._calls:
            if self.state in _ENDED and not self._open:
                raise LoopStoppedError(f"The loop of {self.name} has ended.")
            self._unfinished.add(future)
            if self._open:
                self._post(run)
            else:
                self._early.append(run)
        future.add_done_callback(self._finished)
        return future

    def start(self) -> None:
        """Start the loop's thread, and return when the loop runs.

        Raises:
            StartError: it did not come to run; the cause is in the log.
        """
        super().start()
        try:
            self.call(lambda: None).result()
        except LoopStoppedError as error:
            raise StartError(f"The loop of {self.name} ended while it was started.") from error

    def join(self) -> None:
        """Wait for the end of the loop's thread, then end the calls that came too late for it."""
        super().join()
        self.loop_ended()

    # -- for implementations -----------------------------------------------------------------------

    @abstractmethod
    def _post(self, callback: Callable[[], None]) -> None:
        """Have the running loop call ``callback`` in its thread; called from any thread, never
        blocks.
        """

    def _settle(self, future: Future[Any], result: Any) -> None:
        """End a call's future with what its function returned; called in the loop's thread."""
        settle(future, result)

    def loop_opened(self) -> None:
        """Let calls in; call it in the loop's thread when the loop is about to run."""
        with self._calls:
            self._open = True
            for callback in self._early:
                self._post(callback)
            self._early.clear()

    def loop_ended(self) -> None:
        """Keep calls out, and end those that the loop did not get to; call it when the loop has
        ended.
        """
        with self._calls:
            self._open = False
            self._early.clear()
            unfinished = list(self._unfinished)
        for future in unfinished:
            settle(
                future,
                error=LoopStoppedError(f"The loop of {self.name} ended before the call did."),
            )

    def _finished(self, future: Future[Any]) -> None:
        with self._calls:
            self._unfinished.discard(future)


def settle(future: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    """End a future with a result or an error, unless it has ended already. From any thread."""
    try:
        if not future.running() and not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    except Exception:
        if not future.done():
            raise


class LoopBoundTask(VTask):
    """Lives on the loop of a `LoopTask`, which it names in ``LOOP`` and so depends on.

    It has no thread. Override `start_in_loop` and `stop_in_loop`, plain or ``async``.
    """

    LOOPLESS = True
    LOOP: ClassVar[TaskReference]
    """The loop task that this task lives on: its class or a name."""

    _stopped: Future[Any] | None = None

    @classmethod
    def dependencies(cls) -> Sequence[TaskReference]:
        """Return ``DEPS`` and the loop task."""
        return (*cls.DEPS, cls.LOOP)

    @property
    def loop_task(self) -> LoopTask:
        """The loop task that this task lives on."""
        found: LoopTask = self.service.requireTask(self.LOOP)
        return found

    def start_in_loop(self) -> Any:
        """Begin to work; called in the loop's thread, at the start and when the loop was restarted.

        May be ``async``. The default does nothing. An exception fails the start of the service; at
        a restart it ends the service.
        """

    def stop_in_loop(self) -> Any:
        """End the work; called in the loop's thread. May be ``async``: the service waits for it.

        Not called when the loop itself has crashed. The default does nothing. An exception is
        logged, the stop goes on, and the service ends with status 1.
        """

    def start(self) -> None:
        """Run `start_in_loop` in the loop, and return when it has ended."""
        self.loop_task.call(self.start_in_loop).result()

    def stop(self) -> None:
        """Have `stop_in_loop` run in the loop; `join` waits for its end."""
        super().stop()
        try:
            self._stopped = self.loop_task.call(self.stop_in_loop)
        except LoopStoppedError:  # it crashed: nothing of ours runs there any more
            self._stopped = None

    def join(self) -> None:
        """Wait for the end of `stop_in_loop`."""
        if self._stopped is not None:
            try:
                self._stopped.result()
            except LoopStoppedError:
                self._stopped = None

    def on_dependency_restarted(self, task: VTask) -> None:
        """Start anew in the loop that runs again."""
        if task is self.loop_task:
            self.loop_task.call(self.start_in_loop).add_done_callback(self._started_again)

    def _started_again(self, future: Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None and self.running:
            self.failed = error
            self.service.worker_left(self, error)
