"""The threads in which handlers run that are plain functions."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Threads:
    """Daemon threads, started as they are needed, that run jobs in the order they were put.

    `put` is for one thread, that of the loop.

    Args:
        most: how many threads there may be.
        name: the beginning of their names.
        broke: called in the thread with what a job raised.
    """

    def __init__(self, most: int, name: str, broke: Callable[[BaseException], object]) -> None:
        self._most, self._name, self._broke = most, name, broke
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._ended = False

    def put(self, job: Callable[[], object]) -> None:
        """Have a function called in one of the threads; nothing happens after `end`."""
        if self._ended:
            return
        self._jobs.put(job)
        if len(self._threads) < self._most and not self._idle.acquire(blocking=False):
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system allows no more threads
                if not self._threads:
                    raise
                return
            self._threads.append(thread)

    @property
    def waiting(self) -> int:
        """How many jobs wait for a thread."""
        return self._jobs.qsize()

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except BaseException as error:  # nobody would see this thread end
                self._broke(error)
            del job
            self._idle.release()

    def end(self) -> None:
        """Have the threads end after the jobs that were put so far."""
        self._ended = True
        for _ in self._threads:
            self._jobs.put(None)

    def join(self, seconds: float | None) -> list[str]:
        """Wait for the end of the threads; return the names of those that still run then."""
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return [thread.name for thread in self._threads if thread.is_alive()]
