"""SelectTask: a loop that calls back when a file descriptor is ready or a child process ends."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from contextvars import copy_context
from subprocess import CompletedProcess as ProcessResult
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.counters import CallbackCounter, counter, own
from sparts.errors import LoopStoppedError, ProcessFailed, TaskStoppedError
from sparts.loops import LoopTask
from sparts.system import nonblocking_pipe
from sparts.tasks.children import around_command
from sparts.tasks.processes import ProcessStreamHandler, communicate
from sparts.tasks.readiness import EXCEPT, READ, WRITE, Readiness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future

    from _typeshed import FileDescriptorLike
    from sparts.tasks.children import Child
    from sparts.tasks.readiness import Callback
    from sparts.tasks.submission import Submission
    from sparts.vservice import VService

__all__ = ["ProcessFailed", "ProcessResult", "ProcessStreamHandler", "SelectTask"]


class SelectTask(LoopTask):
    """Waits for file descriptors and child processes, in one thread.

    A callback is called in the loop's thread, with what was registered (a number or an object with
    a ``fileno``), again and again while that is ready. It must not block. An exception in it leaves
    the worker, so that by default the service ends; after a restart (``RESTART``) everything is
    still registered.

    What `call` calls may be a coroutine function. It can ``await`` what `popen_communicate` and
    `QueueTask.submit` return; for sockets and timers, use an asyncio loop.

    At the stop, the processes that the task watches get SIGTERM, and SIGKILL if they do not end.
    """

    CALL_KIND: ClassVar[str] = "command"
    KILL_AFTER: float = 5.0
    """Seconds from SIGTERM to SIGKILL; fewer at a stop that leaves less time."""
    LINGER: float = 1.0
    """Seconds that the output of a process is read after its end, if others keep it open."""

    n_children: CallbackCounter = CallbackCounter(
        lambda self: len(self._children), help="Processes that run now."
    )
    n_callback_errors: counter = counter(help="Exceptions that nothing but the loop caught.")

    def __init__(self, service: VService) -> None:
        """Make the task for a service; called by the service."""
        super().__init__(service)
        self._registering = threading.RLock()  # guards what follows
        self._readiness: Readiness
        self._children: set[Child] = set()
        self._ending = False
        self._coroutines: set[Steps] = set()  # only for the loop's thread
        self._posted: deque[Callable[[], object]] = deque()
        self._wakeup = self._waker = -1

    def initTask(self) -> None:  # noqa: N802
        """Open the selector, so that tasks which depend on this one can register at once."""
        super().initTask()
        self._readiness = Readiness(self.name, self._wake)
        self._wakeup, self._waker = nonblocking_pipe()
        self.register_read(self._wakeup, self._woken)

    # -- to use, from any thread -------------------------------------------------------------------

    def register_read(self, fd: FileDescriptorLike, callback: Callback) -> None:
        """Have ``callback(fd)`` called while there is something to read, or the end.

        It takes the place of an earlier callback for the same. `ValueError` or `OSError`: ``fd`` is
        closed, or nothing to wait for, such as a file of a disk. Unregister it before you close it.
        """
        self.add_callback(fd, READ, callback)

    def register_write(self, fd: FileDescriptorLike, callback: Callback) -> None:
        """Have ``callback(fd)`` called while there is room to write; as `register_read`."""
        self.add_callback(fd, WRITE, callback)

    def register_except(self, fd: FileDescriptorLike, callback: Callback) -> None:
        """Have ``callback(fd)`` called in exceptional conditions: urgent data, a changed attribute.

        As `register_read`.
        """
        self.add_callback(fd, EXCEPT, callback)

    def unregister_read(self, fd: FileDescriptorLike) -> Callback:
        """Call no callback for reading any more, and return the one that was registered.

        One that runs in the loop may still end. KeyError: it is not registered.
        """
        return self.remove_callback(fd, READ)

    def unregister_write(self, fd: FileDescriptorLike) -> Callback:
        """Call no callback for writing any more; as `unregister_read`."""
        return self.remove_callback(fd, WRITE)

    def unregister_except(self, fd: FileDescriptorLike) -> Callback:
        """Call no callback for exceptional conditions any more; as `unregister_read`."""
        return self.remove_callback(fd, EXCEPT)

    def unregister_all(self, fd: FileDescriptorLike) -> None:
        """Call no callback for a descriptor any more, whatever it was registered for, if at all."""
        for unregister in (self.unregister_read, self.unregister_write, self.unregister_except):
            with contextlib.suppress(KeyError):
                unregister(fd)

    def popen_communicate(
        self, *args: Any, input: bytes | str | None = None, **kwargs: Any
    ) -> Submission:
        """Run a process, and return the future of its `subprocess.CompletedProcess`.

        The arguments are those of `subprocess.Popen`. Unless they say otherwise, the standard input
        is empty, output and errors are read as text, and the process leads a group of its own.
        Cancelling the future ends the process; a coroutine may ``await`` it.

        Text is UTF-8 unless ``encoding`` is given, and what is no UTF-8 is replaced. With
        ``encoding``, ``errors`` or ``text=True``, as with Popen, the future ends with a
        `UnicodeDecodeError` then. ``text=False`` gives bytes.

        Args:
            *args: as for Popen.
            input: what the process reads from its standard input.
            **kwargs: as for Popen.

        Raises:
            TaskStoppedError: the task is stopping.
            ValueError: both ``input`` and a ``stdin`` to read from are given.
            LookupError: there is no such encoding.
            CallRefusedError: a plugin refuses it; see `sparts.calls`.
            OSError: the process could not be started. The future instead ends with `ProcessFailed`
                if the exit status is not 0.
        """
        if self._ending or self._supervisor.stop_event.is_set():
            raise self._too_late()
        command = kwargs.get("args", args[0] if args else "")
        return around_command(self, command, lambda: communicate(self, args, kwargs, input))

    # -- the loop ----------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the loop end when the processes that it watches have."""
        super().stop()
        with contextlib.suppress(LoopStoppedError):
            self.call(self._end_children)

    def join(self) -> None:
        """Wait for the end of the loop; end the processes that it could not, and close all."""
        super().join()
        with self._registering:
            if self._wakeup >= 0:
                self._readiness.close()
                os.close(self._wakeup)
                os.close(self._waker)
                self._wakeup = self._waker = -1

    def _workers_left(self) -> None:
        """End all calls, and the processes, for whose end others may wait."""
        super()._workers_left()
        self._ending = True
        for child in list(self._children):
            child.kill_at_once()

    def _abandoned(self) -> None:
        """Kill the processes: the loop did not end in time."""
        for child in list(self._children):
            child.kill()

    def _runloop(self) -> None:
        """Wait and call back until the task must stop and no process is left."""
        self.loop_opened()
        try:
            self._run_posted()
            while not self._ending or self._children:
                self._readiness.turn()
        finally:
            self.loop_closing()
            while self._coroutines:
                self._coroutines.pop().close()
            self.loop_ended()

    def _post(self, callback: Callable[[], object]) -> None:
        self._posted.append(callback)
        self._wake()

    def _settle(self, future: Future[Any], result: Any) -> None:
        if hasattr(result, "__await__"):
            steps = Steps(self.post_if_open, self._coroutine_ended, future, result)
            self._coroutines.add(steps)
            steps.run()
        else:
            super()._settle(future, result)

    def _coroutine_ended(self, steps: Steps, result: Any, error: BaseException | None) -> None:
        self._coroutines.discard(steps)
        if error is None:
            super()._settle(steps.future, result)
        else:
            self._settle_error(steps.future, error)

    def _wake(self) -> None:
        with self._registering:
            if self._waker >= 0:
                with contextlib.suppress(BlockingIOError):  # full: it is awake anyway
                    os.write(self._waker, b"\0")

    def _woken(self, _: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeup, 65536)
        self._run_posted()

    def _run_posted(self) -> None:
        for _ in range(len(self._posted)):  # what these post comes in the next turn
            try:
                self._posted.popleft()()
            except (SystemExit, KeyboardInterrupt) as error:
                self.exit_asked(error)
            except Exception:
                own(self, SelectTask.n_callback_errors).increment()
                self.logger.exception("Error in the loop")

    # -- for the processes -------------------------------------------------------------------------

    def add_callback(self, fd: FileDescriptorLike, event: int, callback: Callback) -> None:
        """See `Readiness`; `LoopStoppedError` if there is no loop now."""
        with self._registering:
            if self._wakeup < 0:
                problem = f"{self.name} has no loop now: it has not begun, or stopped."
                raise LoopStoppedError(problem)
            self._readiness.add_callback(fd, event, callback)

    def remove_callback(self, fd: FileDescriptorLike, event: int) -> Callback:
        """See `Readiness`."""
        return self._readiness.remove_callback(fd, event)

    def call_later(self, seconds: float, callback: Callable[[], object]) -> None:
        """See `Readiness`."""
        self._readiness.call_later(seconds, callback)

    def adopt(self, child: Child) -> None:
        """Watch over a process until `release`; `TaskStoppedError` when the task ends."""
        with self._registering:
            if self._ending:
                raise self._too_late()
            self._children.add(child)

    def release(self, child: Child) -> None:
        """Watch over a process no longer."""
        with self._registering:
            self._children.discard(child)

    def _end_children(self) -> None:
        with self._registering:
            self._ending = True
            children = list(self._children)
        grace = min(self.KILL_AFTER, self.seconds_to_stop() / 2)
        for child in children:
            child.end(grace)

    def _too_late(self) -> TaskStoppedError:
        return TaskStoppedError(f"{self.name} starts no more processes: it is stopping.")


class Steps:
    """Runs what can be awaited, step by step, in the loop's thread: from one wait to the next.

    What it waits for is a future that it yields, as ``await`` of a `Submission` does.

    Args:
        post: calls a function in the loop's thread, if the loop still runs.
        ended: called at the end, with this, the result and the exception.
        future: the future of the call.
        awaitable: what to run.
    """

    def __init__(
        self,
        post: Callable[[Callable[[], object]], object],
        ended: Callable[[Steps, Any, BaseException | None], object],
        future: Future[Any],
        awaitable: Awaitable[Any],
    ) -> None:
        self._post, self._ended = post, ended
        self.future = future
        self._steps: Any = awaitable.__await__()
        self._in_context = copy_context().run
        future.add_done_callback(lambda _: post(self._cancel_if_wanted))

    def run(self, _: object = None) -> None:
        """Run to the next wait, or to the end."""
        try:
            waited = self._in_context(next, self._steps)
            resume: Callable[[object], object] = lambda _: self._post(self.run)  # noqa: E731
            waited.add_done_callback(resume)
        except StopIteration as end:
            self._ended(self, end.value, None)
        except BaseException as error:
            self.close()  # if it was what it waits for that is wrong
            self._ended(self, None, error)

    def close(self) -> None:
        """End it where it waits."""
        with contextlib.suppress(RuntimeError):  # it does not want to end
            self._steps.close()

    def _cancel_if_wanted(self) -> None:
        if self.future.cancelled():
            self.close()
            self._ended(self, None, None)
