"""Submission: a future that coroutines may await, on any thread's end of it."""

from __future__ import annotations

import asyncio
import threading

import pytest
from sparts.context import ExecuteContext
from sparts.tasks.submission import Submission


def finished(result: int) -> Submission[int]:
    future: Submission[int] = Submission()
    future.set_result(result)
    return future


def test_coroutine_awaits_result_exception_and_cancellation() -> None:
    async def main() -> None:
        futures: list[Submission] = [Submission() for _ in range(3)]
        later, failed, cancelled = futures
        threading.Thread(target=ExecuteContext(future=later).set_result, args=(7,)).start()
        assert await later == 7
        ExecuteContext(future=failed).set_exception(ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await failed
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        one, two = await asyncio.gather(finished(1), asyncio.wait_for(finished(2), 10))
        assert (one, two) == (1, 2)

    asyncio.run(main())


def test_cancelled_coroutine_cancels_its_item() -> None:
    async def main() -> Submission:
        future: Submission = Submission()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        return future

    assert asyncio.run(main()).cancelled()
