"""ExecuteContext: what an ``execute`` knows of its run."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from sparts.vtask import ExecuteContext


def test_context_starts_with_first_attempt_and_nothing_else() -> None:
    context = ExecuteContext()
    assert (context.attempt, context.item, context.deferred, context.future) == (
        1,
        None,
        None,
        None,
    )
    assert context.elapsed == 0.0
    assert not context.running.is_set()


def test_running_is_set_by_begin_whoever_looked_first() -> None:
    early, late = ExecuteContext(), ExecuteContext()
    event = early.running
    early.begin()
    late.begin()
    assert event.is_set()
    assert early.running is event
    assert late.running.is_set()
    assert late.elapsed >= 0.0


def test_thread_can_wait_for_a_run_to_begin() -> None:
    context = ExecuteContext()
    thread = threading.Thread(target=context.running.wait)
    thread.start()
    context.begin()
    thread.join(10)
    assert not thread.is_alive()


def test_contexts_are_ordered_by_item() -> None:
    future: Future[None] = Future()
    contexts = [
        ExecuteContext(item=3),
        ExecuteContext(item=1, future=future),
        ExecuteContext(item=2),
    ]
    assert [context.item for context in sorted(contexts)] == [1, 2, 3]
