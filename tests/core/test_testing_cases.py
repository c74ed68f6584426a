"""The test cases for unittest run a service of the tasks under test around each test."""

# ruff: noqa: PT009 - as unittest has it

from __future__ import annotations

import unittest
from collections.abc import Sequence
from typing import Any

import pytest
from sparts.options import option
from sparts.states import ServiceStatus
from sparts.tasks.queue import QueueTask
from sparts.testing import MultiTaskTestCase, ServiceTestCase, SingleTaskTestCase
from sparts.vservice import VService
from sparts.vtask import VTask


class Echo(QueueTask):
    """Gives back what it is given."""

    tail = option(default="", help="what to add")

    def execute(self, item: Any, context: object) -> Any:
        return item + self.tail


class Other(VTask):
    """Does nothing."""

    LOOPLESS = True


class MyService(VService):
    VERSION = "7"
    TASKS = [Other]


class TestService(ServiceTestCase):
    SERVICE = MyService

    def test_the_service_is_ready(self) -> None:
        self.assertTrue(self.service.ready)
        self.assertIsInstance(self.service, MyService)
        self.assertEqual(self.service.getOption("level"), "DEBUG")
        self.assertIsNotNone(self.service.getTask(Other))

    def test_further_services_can_be_run(self) -> None:
        self.assertTrue(self.services(MyService).health.ready)


class TestEcho(SingleTaskTestCase):
    TASK = Echo

    def getCreateArgs(self) -> Sequence[str]:  # noqa: N802
        return [*super().getCreateArgs(), "--Echo-tail", "!"]

    def test_the_task_runs_with_the_arguments(self) -> None:
        self.assertIs(type(self.task), Echo)
        self.assertEqual(self.task.submit("Hi").result(30), "Hi!")


class TestNamed(SingleTaskTestCase):
    TASK = "mine=QueueTask@sparts-core"

    def test_the_task_is_found_by_its_name(self) -> None:
        self.assertEqual(self.task.name, "mine")


class TestBoth(MultiTaskTestCase):
    SERVICE = MyService
    TASKS = [Echo, Other]

    def test_all_tasks_run_and_first_is_task(self) -> None:
        self.assertIs(self.task, self.service.requireTask(Echo))
        self.assertIsNotNone(self.service.getTask(Other))
        self.assertEqual(self.service.VERSION, "7")


def run(case: type[unittest.TestCase]) -> tuple[unittest.TestResult, list[Any]]:
    result, ran = unittest.TestResult(), []
    suite = unittest.TestLoader().loadTestsFromTestCase(case)
    for test in list(suite):
        test.run(result)
        ran.append(test)
    return result, ran


@pytest.mark.parametrize("case", [TestService, TestEcho, TestNamed, TestBoth])
def test_unittest_itself_runs_them_and_stops_the_service(case: type[unittest.TestCase]) -> None:
    result, ran = run(case)
    assert result.wasSuccessful()
    assert result.testsRun == len(ran) > 0
    assert {test.service.status for test in ran} == {ServiceStatus.STOPPED}


def test_a_case_without_tasks_is_told() -> None:
    class TestNothing(SingleTaskTestCase):
        def test_anything(self) -> None: ...

    result, _ = run(TestNothing)
    assert "TestNothing names no tasks: set TASKS (or TASK)." in result.errors[0][1]


def test_what_is_left_behind_is_error_of_test() -> None:
    left: list[Any] = []

    class Leaves(Other):
        def initTask(self) -> None:  # noqa: N802
            left.append(open("/dev/null"))  # noqa: SIM115

    class TestLeaves(SingleTaskTestCase):
        TASK = Leaves

        def test_anything(self) -> None: ...

    result, _ = run(TestLeaves)
    left[0].close()
    assert "What ran in the test left behind: the descriptor" in result.failures[0][1]
