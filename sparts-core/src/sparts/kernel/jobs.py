"""Threads that are made in advance, and run what they are given, one job after the other.

A service that stops may get no more threads from the system. So it makes those of its stop at its
start; one that waits for a job costs no processor time.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class JobThread:
    """A daemon thread that runs jobs in the order in which they were put.

    Args:
        name: the name of the thread.
        broke: called in the thread with what a job raised; the thread goes on.
    """

    def __init__(self, name: str, broke: Callable[[BaseException], object]) -> None:
        self._broke = broke
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.put: Callable[[Callable[[], object]], None] = self._jobs.put
        """Have a function called in the thread; from any thread. Never blocks."""
        self.thread: threading.Thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread; `RuntimeError` if the system allows no more threads."""
        self.thread.start()

    def _run(self) -> None:
        for job in iter(self._jobs.get, None):
            try:
                job()
            except BaseException as error:  # nobody would see this thread end
                self._broke(error)
            del job  # and what it holds, such as a service that has ended

    def end(self) -> None:
        """Have the thread end after the jobs that were put so far; later ones do not run."""
        self._jobs.put(None)

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; False if it has not within ``timeout`` seconds."""
        if self.thread.ident is not None:
            self.thread.join(timeout)
        return not self.thread.is_alive()
