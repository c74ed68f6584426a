"""Test cases as the tests of services of sparts 0.7 use them."""

# ruff: noqa: PT009, PT027 - as unittest has it

from __future__ import annotations

import logging
import unittest
from pathlib import Path

import pytest
from sparts.testing.cases import BaseSpartsTestCase, MultiTaskTestCase, SingleTaskTestCase, Skip
from sparts.vservice import ServiceThread
from sparts.vtask import SkipTask, VTask


class Idle(VTask):
    LOOPLESS = True


class Other(VTask):
    LOOPLESS = True


class TestAssertions(BaseSpartsTestCase):
    def test_what_is_so_passes(self) -> None:
        self.assertEqual(1, 1)
        self.assertNotNone(0)
        self.assertEmpty([])
        self.assertNotEmpty({1})
        self.assertExists(__file__)
        self.assertNotExists(__file__ + ".none")
        self.assertContains(1, [1])
        self.assertNotContains(2, [1])
        self.assertEqual(self.logger, logging.getLogger("sparts.TestAssertions"))
        self.assertEqual(self.mock.Mock(return_value=3)(), 3)

    def test_what_is_not_so_fails(self) -> None:
        for check, arguments in (
            (self.assertEquals, (1, 2)),
            (self.assertNotNone, (None,)),
            (self.assertEmpty, ([1],)),
            (self.assertNotEmpty, ([],)),
            (self.assertExists, (__file__ + ".none",)),
            (self.assertNotExists, (__file__,)),
            (self.assertContains, (2, [1])),
            (self.assertNotContains, (1, [1])),
        ):
            with self.assertRaises(AssertionError):
                check(*arguments)

    def test_that_raises_skip_is_skipped(self) -> None:
        class Skipped(BaseSpartsTestCase):
            def runTest(self) -> None:  # noqa: N802
                raise Skip("not here")

        result = unittest.TestResult()
        Skipped().run(result)
        self.assertEqual([reason for _, reason in result.skipped], ["not here"])


class TestSeveral(MultiTaskTestCase):
    TASKS = [Idle, Other]

    def test_tasks_are_required_of_the_test(self) -> None:
        self.assertIs(self.requireTask("Other"), self.service.requireTask(Other))
        with self.assertRaises(KeyError):
            self.requireTask("None")

    def test_service_knows_its_test(self) -> None:
        self.assertIs(self.service.test, self)

    def test_service_may_be_stopped_and_joined(self) -> None:
        assert isinstance(self.runloop, ServiceThread)
        self.service.stop()
        self.runloop.join()


class Skips(VTask):
    LOOPLESS = True

    def initTask(self) -> None:  # noqa: N802
        raise SkipTask("not configured")


class TestTaskThatIsLeftOut(SingleTaskTestCase):
    TASK = Skips

    def setUp(self) -> None:
        with self.assertRaises(KeyError):
            super().setUp()

    def test_nothing(self) -> None:
        self.assertNotNone(self.service)


def test_module_that_raises_skip_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_here.py").write_text(
        "from sparts.testing.cases import Skip\nraise Skip('not here')\n"
    )
    assert pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(tmp_path)]) in (0, 5)
