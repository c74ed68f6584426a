"""Services that a test has fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from sparts.errors import SpartsError
from sparts.testing.running import make_service, service_of
from sparts.vtask import VTask

T = TypeVar("T", bound=VTask)


@contextmanager
def failing(task: type[T], *argv: str, match: str, status: int = 1) -> Iterator[T]:
    """Run a service of one task, give the task, and wait for the end that the block brings about.

    The service must end with this status, and by an error that matches.
    """
    thread = make_service(service_of(task), *argv).startBG()
    yield thread.service.requireTask(task)
    with pytest.raises(SpartsError, match=match):
        thread.join()
    assert thread.status == status
