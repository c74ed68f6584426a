"""What the test kit takes for left behind, and what it allows on request."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest
from sparts.testing import Leftovers, ServiceFactory, leftovers, service_of
from sparts.vtask import VTask


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards what was allowed."""
    for name in ("_allowed_threads", "_allowed_descriptors"):
        monkeypatch.setattr(leftovers, name, [])


@pytest.mark.parametrize("allow", [False, True])
def test_thread_of_library_is_allowed_by_its_name(allowed: None, allow: bool) -> None:
    before, end = Leftovers(), threading.Event()
    thread = threading.Thread(target=end.wait, name="library 7")
    thread.start()
    try:
        if allow:
            leftovers.allow(thread=r"library \d+")
        assert bool(before.find(patience=0.0)) is not allow
    finally:
        end.set()
        thread.join()


@pytest.mark.parametrize("allow", [False, True])
def test_descriptor_of_a_library_is_allowed(allowed: None, allow: bool) -> None:
    before = Leftovers()
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    try:
        if allow:
            leftovers.allow(descriptor="/dev/zero")
        assert bool(before.find()) is not allow
    finally:
        os.close(descriptor)


def test_coroutines_are_found_without_all_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("gc.get_objects")
    before = Leftovers()
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(60))
    loop.run_until_complete(asyncio.sleep(0))
    try:
        assert any("unfinished <Task pending" in line for line in before.find())
    finally:
        task.cancel()
        loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        loop.close()
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
