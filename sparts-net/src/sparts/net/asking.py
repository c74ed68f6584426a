"""Asks what may never answer, such as a counter or a check of the user's, and waits for a while."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Asking:
    """Runs questions in daemon threads; those who ask the same one at a time share its answer.

    So a question whose answer never comes holds one thread, however often it is asked, and neither
    a transport's threads nor the end of the process. Safe for threads.
    """

    TIMEOUT: ClassVar[float] = 5.0
    """Seconds from when a question is asked on. Later, who asks the same learns at once that there
    is no answer, until it comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, tuple[Future[Any], float]] = {}

    def ask(self, question: str, function: Callable[[], T]) -> T:
        """Return what a function returns, or what it returns to who asked this question before.

        Raises:
            TimeoutError: it did not end in time; it goes on.
        """
        with self._lock:
            asked, deadline = self._asked.get(question, (None, 0.0))
            if asked is None:
                asked, deadline = Future(), monotonic() + self.TIMEOUT
                thread = threading.Thread(
                    target=self._answer,
                    args=(question, function, asked),
                    name=f"asking {question[:60]!r}",
                    daemon=True,
                )
                thread.start()
                self._asked[question] = asked, deadline
        wait([asked], max(0.0, deadline - monotonic()))
        if not asked.done():
            raise TimeoutError(f"No answer about {question} within {self.TIMEOUT:g} s.")
        answer: T = asked.result()
        return answer

    def _answer(self, question: str, function: Callable[[], Any], asked: Future[Any]) -> None:
        try:
            answer = function()
        except BaseException as error:  # it belongs to who asked
            self._forget(question)
            asked.set_exception(error)
        else:
            self._forget(question)
            asked.set_result(answer)

    def _forget(self, question: str) -> None:
        with self._lock:
            del self._asked[question]
