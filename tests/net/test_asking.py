"""A caller of what may never answer waits for a while, and holds one thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sparts.net.asking import Asking
from sparts.testing.waiting import WAIT


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """What questions wait for: set at the end of the test, when their threads are joined."""
    before = set(threading.enumerate())
    event = threading.Event()
    yield event
    event.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(WAIT)


def test_answer_or_error_is_that_of_the_function() -> None:
    asking = Asking()
    assert asking.ask("x", lambda: 1) == 1
    assert asking.ask("x", lambda: 2) == 2
    with pytest.raises(ZeroDivisionError):
        asking.ask("x", lambda: 1 // 0)
    with pytest.raises(TimeoutError, match="mine"):
        asking.ask("x", lambda: (_ for _ in ()).throw(TimeoutError("mine")))
    assert asking.ask("x", lambda: 3) == 3


def test_question_that_hangs_delays_no_other(let_go: threading.Event) -> None:
    asking, begun = Asking(), threading.Event()

    def answer() -> str:
        begun.set()
        let_go.wait(WAIT)
        return "it"

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(asking.ask, "x", answer)
        assert begun.wait(WAIT)
        assert asking.ask("y", lambda: "other") == "other"
        let_go.set()
        assert first.result(WAIT) == "it"


def test_question_that_hangs_is_given_up(
    let_go: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Asking, "TIMEOUT", 0.01)
    asking, before = Asking(), threading.active_count()
    calls: list[int] = []

    def answer() -> None:
        calls.append(1)
        let_go.wait(WAIT)

    for _ in range(5):  # those who ask meanwhile share what was asked
        with pytest.raises(TimeoutError, match=r"No answer about x within 0\.01 s"):
            asking.ask("x", answer)
    assert len(calls) == 1
    assert threading.active_count() == before + 1
    assert all(each.daemon for each in threading.enumerate() if each.name.startswith("asking"))
