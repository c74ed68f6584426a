"""Submission: a light future must be a future in every respect."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    InvalidStateError,
    as_completed,
)

import pytest
from sparts.context import ExecuteContext
from sparts.tasks.submission import Submission, deliver


def finished(result: object) -> Submission:
    future = Submission()
    assert future.set_running_or_notify_cancel()
    future.set_result(result)
    return future


def test_states_follow_one_another_as_in_every_future() -> None:
    future = Submission()
    assert not future.done()
    assert not future.running()
    assert future.set_running_or_notify_cancel()
    assert future.running()
    assert not future.cancel()
    future.set_result(5)
    assert future.done()
    assert future.result() == 5
    assert future.exception() is None
    assert "finished" in repr(future)


def test_result_comes_to_who_waited_before_and_who_asks_after() -> None:
    future = Submission()
    got: list[object] = []
    waiter = threading.Thread(target=lambda: got.append(future.result(10)))
    waiter.start()
    future.set_running_or_notify_cancel()
    future.set_result("x")
    waiter.join(10)
    assert got == ["x"]
    assert future.result() == "x"


def test_exception_is_raised_to_who_asks_for_the_result() -> None:
    future = Submission()
    future.set_running_or_notify_cancel()
    future.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        future.result()
    assert isinstance(future.exception(), ValueError)


def test_timeout_leaves_the_future_as_it_was() -> None:
    future = Submission()
    for timeout in (0, 0.01, -1):
        with pytest.raises(TimeoutError):
            future.result(timeout)
    assert future._bells == ()
    future.set_running_or_notify_cancel()
    future.set_result(1)
    assert future.result(0) == 1


@pytest.mark.parametrize("how", ["result", "exception", "cancel", "callback first"])
def test_who_waits_is_woken_however_it_ends(how: str) -> None:
    future = Submission()
    got: queue.SimpleQueue[object] = queue.SimpleQueue()

    def wait(timeout: float | None) -> None:
        try:
            got.put(future.result(timeout))
        except (ValueError, CancelledError) as error:
            got.put(type(error))

    waiters = [threading.Thread(target=wait, args=(timeout,)) for timeout in (None, 10, None)]
    for number, waiter in enumerate(waiters, 1):
        waiter.start()
        while len(future._bells) < number:
            os.sched_yield()
    if how == "cancel":
        future.cancel()
    else:
        future.set_running_or_notify_cancel()
        if how == "callback first":
            future.add_done_callback(lambda _: None)
        if how == "exception":
            future.set_exception(ValueError())
        else:
            future.set_result(5)
    wanted = {"exception": ValueError, "cancel": CancelledError}.get(how, 5)
    assert [got.get(timeout=10) for _ in waiters] == [wanted] * 3
    for waiter in waiters:
        waiter.join()


def test_callbacks_are_called_whether_they_come_before_or_after_the_end() -> None:
    future, seen = Submission(), []
    future.add_done_callback(lambda f: seen.append(("before", f.result())))
    future.set_running_or_notify_cancel()
    future.set_result(1)
    future.add_done_callback(lambda f: seen.append(("after", f.result())))
    light = finished(2)
    light.add_done_callback(lambda f: seen.append(("late", f.result())))
    assert seen == [("before", 1), ("after", 1), ("late", 2)]


def test_ending_twice_is_an_error() -> None:
    with pytest.raises(InvalidStateError):
        finished(1).set_result(2)


def test_cancelled_future_does_not_begin() -> None:
    future = Submission()
    assert future.cancel()
    assert future.cancelled()
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(CancelledError):
        future.result()


def test_wait_and_as_completed_take_it() -> None:
    done, later = finished(1), Submission()
    both: list[Future[int]] = [done, later]
    first = concurrent.futures.wait(both, return_when=FIRST_COMPLETED)
    assert first.done == {done}
    thread = threading.Thread(target=deliver, args=(ExecuteContext(future=later), 2))
    thread.start()
    assert {future.result() for future in as_completed(both, timeout=10)} == {1, 2}
    thread.join()


def test_none_of_many_waiters_misses_the_end() -> None:
    futures = [Submission() for _ in range(3000)]
    got: list[int] = []

    def end() -> None:
        for number, future in enumerate(futures):
            if future.set_running_or_notify_cancel():
                future.set_result(number)

    threads = [threading.Thread(target=end)]
    threads += [
        threading.Thread(target=lambda: got.extend(future.result(30) for future in futures))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(list(range(3000)) * 3)


def test_either_the_worker_or_who_cancels_wins_never_both() -> None:
    futures = [Submission() for _ in range(3000)]
    begun: list[bool] = []
    cancelled: list[bool] = []
    threads = [
        threading.Thread(
            target=lambda: begun.extend(f.set_running_or_notify_cancel() for f in futures)
        ),
        threading.Thread(target=lambda: cancelled.extend(f.cancel() for f in reversed(futures))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for began, lost in zip(begun, reversed(cancelled), strict=True):
        assert began is not lost


def test_coroutine_awaits_a_result_an_exception_and_a_cancellation() -> None:
    async def main() -> None:
        later, failed, cancelled = Submission(), Submission(), Submission()
        threading.Thread(target=deliver, args=(ExecuteContext(future=later), 7)).start()
        assert await later == 7
        deliver(ExecuteContext(future=failed), error=ValueError("no"))
        with pytest.raises(ValueError, match="no"):
            await failed
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        one, two = await asyncio.gather(finished(1), asyncio.wait_for(finished(2), 10))
        assert (one, two) == (1, 2)

    asyncio.run(main())


def test_coroutine_that_is_cancelled_cancels_what_it_waits_for() -> None:
    async def main() -> Submission:
        future = Submission()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        return future

    assert asyncio.run(main()).cancelled()
