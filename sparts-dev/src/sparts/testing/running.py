"""Services that run in the test's own process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from sparts.errors import describe
from sparts.testing.leftovers import Leftovers
from sparts.testing.waiting import WAIT, not_come, wait_ready
from sparts.vservice import ServiceThread, VService

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sparts.vtask import TaskReference, VTask

S = TypeVar("S", bound="VService")
T = TypeVar("T", bound="VTask")


def service_of(*tasks: TaskReference, **attributes: Any) -> type[VService]:
    """Return a service class named ``Service`` of these tasks, with other class attributes too."""
    cls = type("Service", (VService,), {"TASKS": list(tasks), **attributes})
    if not issubclass(cls, VService):  # pragma: no cover - for the type checker
        raise TypeError(cls)
    return cls


def make_service(service_class: type[S], *argv: str) -> S:
    """Return a new instance with the options that a command line gives; nothing is started.

    Raises:
        UsageError: as the service itself would end with on that command line.
    """
    return service_class.from_args(argv)


@contextlib.contextmanager
def running(service_class: type[S], *argv: str) -> Iterator[S]:
    """Run a service in the background: started when the block begins, ended when it is left.

    Raises:
        SpartsError: its start failed, or it ended otherwise than in order.
    """
    service = make_service(service_class, *argv)
    thread = service.startBG()
    try:
        yield service
    finally:
        thread.service.shutdown()
        thread.join()


@contextlib.contextmanager
def running_task(task: type[T], *argv: str) -> Iterator[T]:
    """Run a service of one task in the background, as `running` does, and give the task."""
    with running(service_of(task), *argv) as service:
        yield service.requireTask(task)


class ServiceFactory:
    """Makes services that run in this process until `close`, which looks at what they leave behind.

    For pytest it is the fixture ``service_factory``, for unittest `sparts.testing.cases` uses it.
    """

    def __init__(self) -> None:
        self._runners: list[tuple[ServiceThread, bool]] = []
        self._leftovers: Leftovers | None = None

    def __call__(
        self,
        service_class: type[S],
        *argv: str,
        may_fail: bool = False,
        ready_timeout: float = WAIT,
    ) -> S:
        """Run a service by its class and a command line, and return it when it is ready.

        Args:
            service_class: the service; see `service_of` for one of given tasks.
            argv: its command line.
            may_fail: whether it may end otherwise than in order without failing the test.
            ready_timeout: seconds that it may take to be ready.

        Raises:
            UsageError: the command line is wrong.
            SpartsError: the start failed.
            AssertionError: it was not ready in time.
        """
        if self._leftovers is None:
            self._leftovers = Leftovers()
        service = make_service(service_class, *argv)
        thread = service.startBG()
        self._runners.append((thread, may_fail))
        wait_ready(service, ready_timeout)
        return service

    def warm_up(self, service_class: type[VService], *argv: str) -> None:
        """Run a service once, and take for granted what is left of it.

        Libraries make some descriptors and threads once a process, and keep them. Call it before
        the first service of the test.

        Raises:
            SpartsError: the service did not start, or ended otherwise than in order.
        """
        with running(service_class, *argv) as service:
            wait_ready(service)

    def thread_of(self, service: VService) -> ServiceThread:
        """Return the thread of one of the services, whichever instance of it lives."""
        (found,) = (
            each
            for each, _ in self._runners
            if each.service._instance.inbox is service._instance.inbox
        )
        return found

    def stop(self, service: VService) -> None:
        """Stop one of the services now, whichever instance of it lives.

        Raises:
            SpartsError: it ended otherwise than in order.
            AssertionError: it did not end.
        """
        thread = self.thread_of(service)
        self._runners = [each for each in self._runners if each[0] is not thread]
        _end(thread)

    def close(self) -> None:
        """Stop all services, the last one first, and check that nothing of them is left.

        Raises:
            AssertionError: one of them did not end in order, or left something behind.
        """
        problems: list[str] = []
        while self._runners:
            thread, may_fail = self._runners.pop()
            try:
                _end(thread)
            except AssertionError as error:
                problems.append(str(error))
            except Exception as error:
                if not may_fail:
                    what = describe(error)
                    problems.append(f"{thread.service.name} did not end in order: {what}")
        leftovers, self._leftovers = self._leftovers, None
        if leftovers is not None and not problems:
            leftovers.check("What ran in the test")
        if problems:
            raise AssertionError("\n".join(problems))


def _end(thread: ServiceThread) -> None:
    """Stop a service and wait for it, a little longer than it says that it takes at most."""
    thread.service.shutdown()
    timeout = WAIT + (thread.service.stop_timeout or 0.0)
    thread.join(timeout)
    if thread.is_alive():
        raise not_come(f"the end of {thread.service.name}", timeout, thread.service)
