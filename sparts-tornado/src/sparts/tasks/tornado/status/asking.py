"""Asks a service about itself in threads of their own: a check or a counter may take its time."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Asker:
    """Runs questions in threads; those who ask the same one at a time share its answer.

    So a question whose answer never comes holds one thread, whoever asks how often. The threads are
    made when they are needed, and sleep in between.

    Args:
        name: what the threads' names begin with.
        questions: functions by name.
        timeout: seconds after which `ask` waits no longer.
    """

    def __init__(
        self, name: str, questions: Mapping[str, Callable[[], Any]], timeout: float
    ) -> None:
        self._name = f"{name}.asking"
        self._questions = questions
        self._timeout = timeout
        self._asked: dict[str, Future[Any]] = {}
        self._pool = ThreadPoolExecutor(len(questions) + 1, self._name)

    async def ask(self, question: str) -> Any:
        """Return the answer to a question; in the loop's thread.

        Raises:
            TimeoutError: it did not come in time.
        """
        asked = self._asked.get(question)
        if asked is None or asked.done():
            asked = self._asked[question] = self._pool.submit(self._questions[question])
        return await self._wait(asked)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Return what a function returns, which runs in a thread; in the loop's thread.

        Raises:
            TimeoutError: it did not end in time; it goes on.
        """
        return await self._wait(self._pool.submit(function))

    async def _wait(self, asked: Future[Any]) -> Any:
        answer = asyncio.wrap_future(asked)
        done, _ = await asyncio.wait([answer], timeout=self._timeout)
        if not done:
            answer.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise TimeoutError(f"No answer within {self._timeout:g} s")
        return answer.result()

    def close(self) -> None:
        """End the threads, and wait for what runs in them."""
        self._pool.shutdown(cancel_futures=True)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that there are."""
        return [each for each in threading.enumerate() if each.name.startswith(self._name)]
