"""Submission: a future that is light enough to make one for each of a hundred thousand items."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import CancelledError, Future, InvalidStateError
from time import monotonic
from typing import TYPE_CHECKING, Any

from sparts.errors import text_of

if TYPE_CHECKING:
    from collections.abc import Generator

    from sparts.context import ExecuteContext


class Submission(Future[Any]):
    """The future of a submitted item, which a coroutine may ``await``, too.

    A `concurrent.futures.Future` in every respect. But its condition and its lists, which are most
    of what a future costs, are made when somebody cancels it, adds a callback or waits for it by
    other means than `result`; with most, nobody does. Until then a bare lock guards its state, and
    bare locks wake who waits.
    """

    # What `concurrent.futures` itself uses of a future: ``_state``, ``_result``, ``_exception``,
    # and, with ``_condition`` held, ``_waiters`` and ``_done_callbacks``.
    _result = None
    _exception = None
    _own: threading.Condition | None = None
    _bells: tuple[threading.Lock, ...] = ()

    def __init__(self) -> None:
        self._state = "PENDING"
        self._changing = threading.Lock()

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        with self._changing:
            if self._own is None:
                self._waiters: list[Any] = []
                self._done_callbacks: list[Any] = []
                self._own = threading.Condition()
                self._ring()  # who waits lightly shall wait by the condition from now on
            return self._own

    def set_running_or_notify_cancel(self) -> bool:
        """Note that the work begins; False: it was cancelled before."""
        with self._changing:
            if self._own is None and self._state == "PENDING":
                self._state = "RUNNING"
                return True
        return super().set_running_or_notify_cancel()

    def set_result(self, result: Any) -> None:
        """End with a result; `InvalidStateError` if it has ended already."""
        with self._changing:
            if self._own is None and self._state == "RUNNING":
                self._result = result
                self._state = "FINISHED"
                self._ring()
                return
        super().set_result(result)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the outcome and return the result; as every future does."""
        if self._state != "FINISHED":
            timeout = self._wait_lightly(timeout)
        if self._state == "FINISHED" and self._exception is None:
            return self._result
        return super().result(timeout)

    def _wait_lightly(self, timeout: float | None) -> float | None:
        """Wait for the end, or until there is a condition to wait by; return the seconds left."""
        bell = threading.Lock()
        bell.acquire()
        with self._changing:
            if self._own is not None or self._state == "FINISHED":
                return timeout
            self._bells = (*self._bells, bell)
        if timeout is None:
            bell.acquire()
            return None
        began = monotonic()
        if not bell.acquire(timeout=max(0.0, timeout)):
            with self._changing:
                self._bells = tuple(other for other in self._bells if other is not bell)
        return max(0.0, timeout - (monotonic() - began))

    def _ring(self) -> None:
        for bell in self._bells:
            bell.release()
        self._bells = ()

    def __await__(self) -> Generator[Any, None, Any]:
        asyncio = sys.modules.get("asyncio")
        if asyncio is not None and asyncio._get_running_loop() is not None:
            return (yield from asyncio.wrap_future(self).__await__())
        if not self.done():
            yield self  # to the loop of a `SelectTask`
        return self.result()


def deliver(
    context: ExecuteContext, result: Any = None, error: BaseException | None = None
) -> None:
    """End who waits for an item's outcome, its future and its deferred, if they have not ended.

    A deferred fires in the thread of Twisted's reactor, if one runs.

    Raises:
        Exception: what the deferred's own callbacks let through.
    """
    future, deferred = context.future, context.deferred
    if isinstance(error, StopIteration):  # a coroutine cannot be told of one, and would wait on
        error, cause = RuntimeError(f"StopIteration was raised: {text_of(error)}"), error
        error.__cause__ = cause
    if future is not None:
        try:
            if error is None:
                future.set_result(result)
            elif not isinstance(error, CancelledError) or not future.cancel():
                future.set_exception(error)
        except InvalidStateError:  # cancelled, or ended when the task was stopped
            pass
    if deferred is None:
        return

    def fire() -> None:
        if getattr(deferred, "called", False):
            return
        if error is None:
            deferred.callback(result)
        else:
            deferred.errback(error)

    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is not None and reactor.running:  # whose thread is that of its deferreds
        reactor.callFromThread(fire)
    else:
        fire()
