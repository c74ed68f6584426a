"""The threads in which servers call what may block."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class Threads(Executor):
    """Threads that are started when functions need them, and wait for more until `shutdown`.

    `run` makes no future. With those of `concurrent.futures.ThreadPoolExecutor`, a call of a plain
    method over HTTP takes 1.1 to 1.2 x the processor time. A process does not wait for these
    threads at its exit. All methods are for any thread.

    Args:
        most: how many there are at most.
        name: the beginning of their names, and the logger of functions that fail.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._threads: list[threading.Thread] = []
        self._jobs: SimpleQueue[tuple[Callable[[], object], Future[Any] | None] | None]
        self._jobs = SimpleQueue()
        self._idle: list[None] = []  # one for each thread that waits, and for which no job is
        self._lock = threading.Lock()
        self._over = False

    def run(self, function: Callable[[], object]) -> None:
        """Have a function run, which should not raise: that is logged.

        Raises:
            RuntimeError: after `shutdown`, or there is no thread and the system gives none.
        """
        self._add(function, None)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function run, and return the future of its result.

        Raises:
            RuntimeError: after `shutdown`, or there is no thread and the system gives none.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._add(run, future)
        return future

    def _add(self, function: Callable[[], object], future: Future[Any] | None) -> None:
        with self._lock:
            if self._over:
                raise RuntimeError(f"The threads of {self._name} have ended.")
            if self._idle:
                self._idle.pop()
            elif len(self._threads) < self._most:
                self._start_thread()
            self._jobs.put((function, future))

    def _start_thread(self) -> None:
        name = f"{self._name}_{len(self._threads)}"
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more: it waits for those that there are
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        jobs, idle = self._jobs, self._idle
        while (job := jobs.get()) is not None:
            try:
                job[0]()
            except BaseException:
                logging.getLogger(self._name).exception("%r has failed", job[0])
            del job  # it may hold much
            idle.append(None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more functions, and end the threads.

        Args:
            wait: whether to return after their end.
            cancel_futures: whether what has not begun is dropped, and its futures cancelled; else
                it runs before.
        """
        dropped = []
        with self._lock:
            self._over = True
            while cancel_futures:
                try:
                    dropped.append(self._jobs.get_nowait())
                except Empty:
                    break
            for _ in self._threads:
                self._jobs.put(None)
        for job in dropped:
            if job is not None and job[1] is not None:
                job[1].cancel()
                job[1].set_running_or_notify_cancel()  # so that `concurrent.futures.wait` ends
        for thread in self._threads if wait else ():
            thread.join()
