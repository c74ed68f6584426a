"""Asks a service about itself in threads of their own: a check or a counter may take its time."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Asker:
    """Runs questions in threads; those who ask the same one at a time share its answer.

    Each question has a thread of its own. So one whose answer never comes holds one thread, however
    often it is asked, and delays no other question. The threads are made when they are needed, and
    sleep in between. They are daemons: one that hangs does not keep the process from its end.

    Args:
        name: what the threads' names begin with.
        questions: functions by name.
        timeout: seconds after which `ask` waits no longer.
    """

    def __init__(
        self, name: str, questions: Mapping[str, Callable[[], Any]], timeout: float
    ) -> None:
        self._name = name
        self._questions = questions
        self._timeout = timeout
        self._asked: dict[str, Future[Any]] = {}
        self._workers: dict[str, _Worker] = {}

    async def ask(self, question: str) -> Any:
        """Return the answer to a question; in the loop's thread.

        Raises:
            TimeoutError: it did not come in time.
        """
        asked = self._asked.get(question)
        if asked is None or asked.done():
            asked = self._asked[question] = self._put(question, self._questions[question])
        return await self._wait(asked)

    async def run(self, purpose: str, function: Callable[[], Any]) -> Any:
        """Return what a function returns, in the loop's thread.

        It runs in a thread after all others of the same purpose.

        Raises:
            TimeoutError: it did not end in time. It goes on if it has begun, and else never begins.
        """
        asked = self._put(purpose, function)
        try:
            return await self._wait(asked)
        finally:
            asked.cancel()

    def _put(self, worker: str, function: Callable[[], Any]) -> Future[Any]:
        if worker not in self._workers:
            made = _Worker(name=f"{self._name}.asking.{worker}", daemon=True)
            made.start()
            self._workers[worker] = made  # only now: a thread that cannot start is tried again
        return self._workers[worker].put(function)

    async def _wait(self, asked: Future[Any]) -> Any:
        answer = asyncio.wrap_future(asked)
        done, _ = await asyncio.wait([answer], timeout=self._timeout)
        if not done:
            answer.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise TimeoutError(f"No answer within {self._timeout:g} s")
        return answer.result()

    def close(self, seconds: float) -> list[str]:
        """End the threads, when the loop has ended; return what still hangs after some seconds."""
        deadline = monotonic() + seconds
        for worker in self._workers.values():
            worker.end()
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - monotonic()))
        return [name for name, worker in self._workers.items() if worker.is_alive()]

    def threads(self) -> list[threading.Thread]:
        """Return the threads that there are."""
        return [worker for worker in self._workers.values() if worker.is_alive()]


class _Worker(threading.Thread):
    """Runs functions one after the other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._ended = False

    def put(self, function: Callable[[], Any]) -> Future[Any]:
        """Have a function run, and return the future of its result."""
        future: Future[Any] = Future()
        self._jobs.put((future, function))
        return future

    def end(self) -> None:
        """End when the present function has, without those that wait."""
        self._ended = True
        self._jobs.put(None)

    def run(self) -> None:
        """Run the functions; called by threading."""
        while (job := self._jobs.get()) is not None:
            future, function = job
            if self._ended:
                future.cancel()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function())
            except BaseException as error:  # it belongs to the caller
                future.set_exception(error)
            del job, future, function  # so that nothing is kept until the next
