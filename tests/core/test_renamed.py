"""Class attributes with a new name: the old one works as before, with a warning."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from sparts.options import option
from sparts.tasks.async_queue import AsyncQueueTask
from sparts.tasks.queue import QueueTask
from sparts.testing import ServiceFactory, service_of


def test_old_name_in_class_sets_new_one() -> None:
    with pytest.warns(DeprecationWarning, match="use RETRY_AFTER") as caught:

        class Old(QueueTask):
            RETRY_WAIT = 0.5

    (warning,) = caught
    assert str(warning.message) == "Old.RETRY_WAIT is deprecated: use RETRY_AFTER."
    assert warning.filename == __file__
    assert Old.RETRY_AFTER == 0.5
    assert QueueTask.RETRY_AFTER == 0.0

    class Newer(Old):
        RETRY_AFTER = 0.7

    with pytest.warns(DeprecationWarning, match="use RETRY_AFTER"):
        assert Newer.RETRY_WAIT == 0.7


def test_old_name_is_read_and_set_on_task(service_factory: ServiceFactory) -> None:
    service = service_factory(service_of(QueueTask))
    task = service.requireTask(QueueTask)
    with pytest.warns(DeprecationWarning, match="use RETRY_AFTER"):
        task.RETRY_WAIT = 3.0
    assert task.RETRY_AFTER == 3.0
    with pytest.warns(DeprecationWarning, match="use RETRY_AFTER"):
        assert task.RETRY_WAIT == 3.0


def test_own_attribute_of_old_name_is_left_alone() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        from sparts.tasks.periodic import PeriodicTask

        class Mine(PeriodicTask):
            RETRY_WAIT = 3.0
            wait: Any = option(default=lambda cls: cls.RETRY_WAIT)

        class Plain(AsyncQueueTask):
            RETRY_AFTER = 3.0

    assert Mine.RETRY_WAIT == 3.0
    assert Plain.RETRY_AFTER == 3.0
