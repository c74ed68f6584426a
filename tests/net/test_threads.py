"""`Threads`: what servers call in threads, and how that ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait

import pytest
from sparts.net.threads import Threads
from sparts.testing.waiting import no_further_threads

SOON = 30.0


class Gate:
    """Holds up what runs through it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()

    def __call__(self) -> str:
        """Wait until it is opened; return the thread's name."""
        self.entered.release()
        assert self.opened.wait(SOON)
        return threading.current_thread().name


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Give a gate, which is open at the end."""
    made = Gate()
    yield made
    made.opened.set()


def test_functions_run_in_at_most_so_many_threads(gate: Gate) -> None:
    threads = Threads(3, "few")
    futures = [threads.submit(gate) for _ in range(7)]
    for _ in range(3):
        assert gate.entered.acquire(timeout=SOON)
    assert not gate.entered.acquire(blocking=False)
    gate.opened.set()
    assert {future.result(SOON) for future in futures} <= {"few_0", "few_1", "few_2"}
    threads.shutdown()


def test_threads_start_as_they_are_needed(gate: Gate) -> None:
    threads = Threads(1000, "needed")
    first = threads.submit(gate)
    assert threads.submit(threading.active_count).result(SOON) < 100
    gate.opened.set()
    assert first.result(SOON).startswith("needed_")
    threads.shutdown()


def test_function_waits_for_another_without_deadlock() -> None:
    threads = Threads(2, "nested")
    for _ in range(100):
        assert threads.submit(lambda: threads.submit(lambda: 1).result(SOON)).result(SOON) == 1
    threads.shutdown()


def test_functions_share_threads_where_there_are_no_more(gate: Gate) -> None:
    threads = Threads(2, "sharing")
    with no_further_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        threads.run(gate)
    first = threads.submit(gate)
    with no_further_threads():
        second = threads.submit(gate)
    gate.opened.set()
    assert first.result(SOON) == second.result(SOON) == "sharing_0"
    threads.shutdown()


def test_future_has_what_the_function_raised() -> None:
    threads = Threads(1, "raising")
    with pytest.raises(ZeroDivisionError):
        threads.submit(lambda: 1 // 0).result(SOON)
    threads.shutdown()


def test_thread_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    threads = Threads(1, "failing")
    threads.run(lambda: 1 // 0)
    assert threads.submit(lambda: "on").result(SOON) == "on"
    assert "failing" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    threads.shutdown()


def test_cancelled_future_does_not_run(gate: Gate) -> None:
    threads = Threads(1, "cancelled")
    threads.submit(gate)
    ran: list[int] = []
    assert threads.submit(ran.append, 1).cancel()
    last = threads.submit(ran.append, 2)
    gate.opened.set()
    last.result(SOON)
    assert ran == [2]
    threads.shutdown()


@pytest.mark.parametrize("cancels", [True, False])
def test_shutdown_runs_or_cancels_what_waits(gate: Gate, cancels: bool) -> None:
    threads = Threads(1, "ending")
    first = threads.submit(gate)
    assert gate.entered.acquire(timeout=SOON)
    ran: list[int] = []
    threads.run(lambda: ran.append(1))
    last = threads.submit(ran.append, 2)
    threads.shutdown(wait=False, cancel_futures=cancels)
    if cancels:
        with pytest.raises(CancelledError):
            last.result(SOON)
        assert not wait([last], SOON).not_done
    gate.opened.set()
    first.result(SOON)
    threads.shutdown()  # waits
    assert ran == ([] if cancels else [1, 2])
    with pytest.raises(RuntimeError, match="threads of ending have ended"):
        threads.run(gate)
