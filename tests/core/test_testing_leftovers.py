"""What the test kit takes for left behind, and what it allows on request."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from sparts.testing import Leftovers, ServiceFactory, leftovers, service_of
from sparts.vtask import VTask

from tests.core.leaving import leave_a_coroutine, leave_a_descriptor, leave_a_thread


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what was allowed."""
    for name in ("_allowed_threads", "_allowed_descriptors"):
        monkeypatch.setattr(leftovers, name, [])


@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize(
    ("leave", "of"),
    [
        (leave_a_thread, {"thread": r"of \w+"}),
        (leave_a_descriptor, {"descriptor": os.devnull}),
    ],
)
def test_what_a_library_leaves_can_be_allowed(
    allowed: None, leave: Callable[[], Callable[[], object]], of: dict[str, str], allow: bool
) -> None:
    before, end = Leftovers(), leave()
    try:
        if allow:
            leftovers.allow(**of)
        assert bool(before.find(patience=0.0)) is not allow
    finally:
        end()


def test_coroutines_are_found_without_all_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("gc.get_objects")
    before, end = Leftovers(), leave_a_coroutine()
    try:
        assert any("unfinished <Task pending" in line for line in before.find())
    finally:
        end()
    assert before.find() == []


KEPT: list[int] = []


class OpensOnce(VTask):
    """Keeps a descriptor that it opens once a process, as libraries do."""

    LOOPLESS = True

    def initTask(self) -> None:  # noqa: N802
        super().initTask()
        if not KEPT:
            KEPT.append(os.open("/dev/zero", os.O_RDONLY))


@pytest.mark.parametrize("warm", [False, True])
def test_service_that_was_warmed_up_leaves_nothing(warm: bool) -> None:
    factory = ServiceFactory()
    service: Any = service_of(OpensOnce)
    try:
        if warm:
            factory.warm_up(service)
        factory(service)
        if warm:
            factory.close()
        else:
            with pytest.raises(AssertionError, match="left behind: the descriptor"):
                factory.close()
    finally:
        os.close(KEPT.pop())
