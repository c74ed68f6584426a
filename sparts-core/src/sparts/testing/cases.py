"""Test cases for unittest: a service of the tasks under test runs around each test.

class TestMailer(SingleTaskTestCase):
    TASK = Mailer

    def test_it_sends(self) -> None:
        self.task.submit("hello").result(10)
"""

from __future__ import annotations

import unittest
from typing import TYPE_CHECKING, Any, ClassVar

from sparts.taskset import resolve
from sparts.testing.running import ServiceFactory, service_of
from sparts.vservice import VService

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.taskset import TaskReference


class ServiceTestCase(unittest.TestCase):
    """Runs a service around each test: ready when the test begins, stopped and looked after
    (threads, descriptors, coroutines) at its end.
    """

    SERVICE: ClassVar[type[VService]] = VService
    """The service."""
    service: Any
    """The instance that was started."""
    services: ServiceFactory
    """Runs further services; see `ServiceFactory`."""

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
        self.service = self.services(self.getServiceClass(), *self.getCreateArgs())


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
        self.TASKS = [] if self.TASK is None else [self.TASK]  # type: ignore[misc]
        super().setUp()
