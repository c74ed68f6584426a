"""ExecuteContext: what an ``execute`` knows of its run."""

from __future__ import annotations

from concurrent.futures import Future

from sparts.vtask import ExecuteContext

from tests.threads import in_threads


def test_context_starts_with_first_attempt_and_nothing_else() -> None:
    context = ExecuteContext()
    assert (context.attempt, context.elapsed) == (1, 0.0)
    assert context.item is context.deferred is context.future is None
    assert not context.running.is_set()


def test_running_is_set_by_begin_whoever_looked_first() -> None:
    early, late = ExecuteContext(), ExecuteContext()
    event = early.running
    with in_threads(event.wait):
        early.begin()
    late.begin()
    assert early.running is event
    assert late.running.is_set()
    assert late.elapsed >= 0.0


def test_contexts_are_ordered_by_item() -> None:
    future: Future[None] = Future()
    contexts = [ExecuteContext(item=item, future=future) for item in (3, 1, 2)]
    assert [context.item for context in sorted(contexts)] == [1, 2, 3]
