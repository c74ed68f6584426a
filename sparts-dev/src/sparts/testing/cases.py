"""Test cases for unittest: a service of the tasks under test runs around each test.

class TestMailer(SingleTaskTestCase):
    TASK = Mailer

    def test_it_sends(self) -> None:
        self.task.submit("hello").result(10)
"""

from __future__ import annotations

import logging
import os
import unittest
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.references import resolve
from sparts.testing.running import ServiceFactory, service_of
from sparts.vservice import ServiceThread, VService

if TYPE_CHECKING:
    from collections.abc import Container, Sequence, Sized

    from sparts.vtask import TaskReference


class Skip(unittest.SkipTest):
    """Raise it to skip a test, or a whole module while it is imported."""


class BaseSpartsTestCase(unittest.TestCase):
    """A `unittest.TestCase` with a logger and the assertions of sparts 0.7."""

    logger: ClassVar[logging.Logger]
    """A logger of the test case's name."""

    @classmethod
    def setUpClass(cls) -> None:
        """Make the logger."""
        super().setUpClass()
        cls.logger = logging.getLogger(f"sparts.{cls.__name__}")

    @property
    def mock(self) -> Any:
        """The module `unittest.mock`."""
        from unittest import mock

        return mock

    def assertEquals(self, first: object, second: object, msg: object = None) -> None:  # noqa: N802
        """Assert that two objects are equal; Python 3.12 has dropped it from unittest."""
        self.assertEqual(first, second, msg)  # noqa: PT009

    def assertNotNone(self, found: object, msg: object = None) -> None:  # noqa: N802
        """Assert that something is not None."""
        self.assertIsNotNone(found, msg)  # noqa: PT009

    def assertEmpty(self, found: Sized, msg: object = None) -> None:  # noqa: N802
        """Assert that something has no items."""
        self.assertEqual(len(found), 0, msg or f"{found!r} is not empty")  # noqa: PT009

    def assertNotEmpty(self, found: Sized, msg: object = None) -> None:  # noqa: N802
        """Assert that something has items."""
        self.assertGreater(len(found), 0, msg or f"{found!r} is empty")  # noqa: PT009

    def assertExists(self, path: str | os.PathLike[str], msg: object = None) -> None:  # noqa: N802
        """Assert that there is a file or folder of a path."""
        self.assertTrue(os.path.exists(path), msg or f"{path} does not exist")  # noqa: PT009

    def assertNotExists(  # noqa: N802
        self, path: str | os.PathLike[str], msg: object = None
    ) -> None:
        """Assert that there is nothing of a path."""
        self.assertFalse(os.path.exists(path), msg or f"{path} exists")  # noqa: PT009

    def assertContains(self, item: object, found: Container[Any], msg: object = None) -> None:  # noqa: N802
        """Assert that something has an item."""
        self.assertIn(item, found, msg)  # noqa: PT009

    def assertNotContains(  # noqa: N802
        self, item: object, found: Container[Any], msg: object = None
    ) -> None:
        """Assert that something has not an item."""
        self.assertNotIn(item, found, msg)  # noqa: PT009


class ServiceTestCase(BaseSpartsTestCase):
    """Runs a service around each test: ready when the test begins, stopped and looked after
    (threads, descriptors, coroutines) at its end.
    """

    SERVICE: ClassVar[type[VService]] = VService
    """The service."""
    service: Any
    """The instance that was started."""
    services: ServiceFactory
    """Runs further services; see `ServiceFactory`."""
    runloop: ServiceThread | None = None
    """The thread of the service."""

    def getServiceClass(self) -> type[VService]:  # noqa: N802
        """Return the class of the service to run; ``SERVICE`` by default."""
        return self.SERVICE

    def getCreateArgs(self) -> Sequence[str]:  # noqa: N802
        """Return the command line of the service; by default it logs everything."""
        return ["--level", "DEBUG"]

    def setUp(self) -> None:
        """Start the service."""
        super().setUp()
        self.services = ServiceFactory()
        self.addCleanup(self.services.close)
        cls = self.getServiceClass()
        cls.test = self  # type: ignore[attr-defined]
        self.addCleanup(delattr, cls, "test")
        self.service = self.services(cls, *self.getCreateArgs())
        self.runloop = self.services.thread_of(self.service)

    def requireTask(self, task: str | type[Any]) -> Any:  # noqa: N802
        """Return a task of the service by its name or class; KeyError if there is none."""
        return self.service.requireTask(task)


class MultiTaskTestCase(ServiceTestCase):
    """Runs a service of ``TASKS`` around each test."""

    TASKS: ClassVar[Sequence[TaskReference]] = ()
    """The tasks: classes or names."""
    task: Any
    """The first of ``TASKS``, as it runs."""

    def getServiceClass(self) -> type[VService]:  # noqa: N802
        """Return a subclass of ``SERVICE`` whose tasks are ``TASKS``."""
        if not self.TASKS:
            raise TypeError(f"{type(self).__name__} names no tasks: set TASKS (or TASK).")
        tasks = service_of(*self.TASKS).TASKS
        return type(self.SERVICE.__name__, (self.SERVICE,), {"TASKS": tasks})

    def setUp(self) -> None:
        """Start the service, and find the first task in it."""
        super().setUp()
        self.task = self.service.requireTask(resolve(self.TASKS[0]).__name__)


class SingleTaskTestCase(MultiTaskTestCase):
    """Runs a service of one ``TASK`` around each test."""

    TASK: ClassVar[TaskReference | None] = None
    """The task: a class or a name."""

    def setUp(self) -> None:
        """Start the service, and find the task in it."""
        self.TASKS: Sequence[TaskReference] = [] if self.TASK is None else [self.TASK]  # type: ignore[misc]
        super().setUp()
