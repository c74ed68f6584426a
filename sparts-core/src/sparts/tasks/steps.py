"""Coroutines on the loop of a SelectTask: they may await submissions, and one another."""

from __future__ import annotations

import contextlib
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future


class Steps:
    """Runs what can be awaited, step by step, in the loop's thread: from one wait to the next.

    What it waits for is a future that it yields, as ``await`` of a `Submission` does.

    Args:
        waiting: the steps that wait, for the loop's thread alone; these are among them.
        post: calls a function in the loop's thread, if the loop still runs.
        ended: called at the end, with the future, the result and the exception.
        future: the future of the call.
        awaitable: what to run.
    """

    def __init__(
        self,
        waiting: set[Steps],
        post: Callable[[Callable[[], object]], object],
        ended: Callable[[Future[Any], Any, BaseException | None], object],
        future: Future[Any],
        awaitable: Awaitable[Any],
    ) -> None:
        self._waiting, self._post, self._told = waiting, post, ended
        self.future = future
        waiting.add(self)
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
            self._ended(end.value)
        except BaseException as error:
            self.close()  # if it was what it waits for that is wrong
            self._ended(error=error)

    def close(self) -> None:
        """End it where it waits."""
        with contextlib.suppress(RuntimeError):  # it does not want to end
            self._steps.close()

    def _cancel_if_wanted(self) -> None:
        if self.future.cancelled() and self in self._waiting:
            self.close()
            self._ended()

    def _ended(self, result: Any = None, error: BaseException | None = None) -> None:
        self._waiting.discard(self)
        self._told(self.future, result, error)
