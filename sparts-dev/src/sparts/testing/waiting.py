"""Waiting for what a service does, without looking in steps.

What does not come in time is an `AssertionError` that says what was waited for, and what the
service was doing instead.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from sparts.hookspecs import hookimpl

if TYPE_CHECKING:
    from concurrent.futures import Future

    from sparts.kernel import Instance
    from sparts.states import ServiceStatus, TaskState
    from sparts.vservice import VService
    from sparts.vtask import VTask

S = TypeVar("S", bound="VService")
T = TypeVar("T")

WAIT = 30.0
"""Seconds after which something that should happen soon is taken never to happen."""


def state_of(service: VService | None) -> str:
    """Return what a service is doing, for a person; see `VService.describe`."""
    if service is None:
        return ""
    facts = service.stats.describe()
    ready = "ready" if facts["ready"] else "not ready"
    lines = [f"{facts['name']} is {facts['status']}, {ready}: {facts['status_details'] or 'well'}"]
    for task in facts["tasks"]:
        ready = "ready" if task["ready"] else "not ready"
        threads = ", ".join(task["threads"]) or "none"
        lines.append(f"  {task['name']} is {task['state']}, {ready}; its threads: {threads}")
    counted = [f"{name} = {value:g}" for name, value in facts["counters"].items() if value]
    lines.append(f"  counters: {', '.join(counted) or 'all 0'}")
    lines.append(f"  threads: {', '.join(facts['threads'])}")
    return "\n".join(lines)


def not_come(what: str, timeout: float, service: VService | None = None) -> AssertionError:
    """Return the error of having waited for something that did not come."""
    return AssertionError(f"Waited {timeout:g} s for {what}.\n{state_of(service)}".rstrip())


# -- the service and its tasks ---------------------------------------------------------------------


def wait_ready(service: VService, timeout: float = WAIT) -> None:
    """Wait until a service is ready; AssertionError after ``timeout`` seconds or if it ends."""
    if not service.health.wait_ready(timeout):
        if service.health.ended.is_set():
            raise AssertionError(f"It ended before it was ready.\n{state_of(service)}")
        raise not_come("the service to be ready", timeout, service)


def wait_status(service: VService, *statuses: ServiceStatus, timeout: float = WAIT) -> None:
    """Wait until a service is in one of these statuses; AssertionError after ``timeout`` seconds,
    or if it ends in another.
    """
    what = f"{service.name} to be {' or '.join(statuses)}"
    _wait_for(service, lambda: service.health.status in statuses, what, timeout)


def wait_state(task: VTask, *states: TaskState, timeout: float = WAIT) -> None:
    """Wait until a task is in one of these states; AssertionError after ``timeout`` seconds, or if
    the service ends before.
    """
    what = f"{task.name} to be {' or '.join(states)}"
    _wait_for(task.service, lambda: task.state in states, what, timeout)


def wait_ended(service: VService, timeout: float = WAIT) -> BaseException | None:
    """Wait until this instance of a service has ended, and return what ended it badly, if anything
    did; AssertionError after ``timeout`` seconds.
    """
    if not service.health.ended.wait(timeout):
        raise not_come(f"the end of {service.name}", timeout, service)
    return service.health.error


def restart(service: S, timeout: float = WAIT, between: Callable[[], object] = lambda: None) -> S:
    """Restart a service that runs in this process; return its new instance when that is ready.

    ``between`` is called when the old instance has ended and there is no new one. What it raises is
    raised here, too.

    AssertionError: there was none, or it was not ready, within ``timeout`` seconds.
    """
    from concurrent.futures import Future

    made: Future[S] = Future()
    successor = service._instance.successor

    def note() -> Instance:
        try:
            between()
            new = successor()
        except BaseException as error:
            made.set_exception(error)
            raise
        made.set_result(cast("S", new.service))
        return new

    service._instance.successor = note  # type: ignore[method-assign]
    service.restart()
    new = wait_for_result(made, "a new instance", service, timeout)
    wait_ready(new, timeout)
    return new


class _Waker:
    """A hook plugin that wakes waiting threads after every change of a service or its tasks."""

    def __init__(self, changed: threading.Condition) -> None:
        self._changed = changed

    @hookimpl(trylast=True)
    def sparts_service_change(self) -> None:
        """Wake; the service holds its lock."""
        self._changed.notify_all()

    @hookimpl(trylast=True)
    def sparts_task_change(self) -> None:
        """Wake; the service holds its lock."""
        self._changed.notify_all()


def _wait_for(service: VService, come: Callable[[], bool], what: str, timeout: float) -> None:
    changed = service.health._readiness
    waker = _Waker(changed)
    service.hooks.register(waker)
    try:
        with service.health.changing:
            changed.wait_for(lambda: come() or service.health.ended.is_set(), timeout)
            if come():
                return
    finally:
        service.hooks.unregister(waker)
    if service.health.ended.is_set():
        raise AssertionError(f"It ended, and did not come: {what}.\n{state_of(service)}")
    raise not_come(what, timeout, service)


# -- anything else ---------------------------------------------------------------------------------


def wait_for_event(
    event: threading.Event, what: str, service: VService | None = None, timeout: float = WAIT
) -> None:
    """Wait until an event is set; AssertionError after ``timeout`` seconds."""
    if not event.wait(timeout):
        raise not_come(what, timeout, service)


def wait_for_result(
    future: Future[T], what: str, service: VService | None = None, timeout: float = WAIT
) -> T:
    """Return the result of a future, or raise what it raises; AssertionError after ``timeout``
    seconds.
    """
    from concurrent.futures import wait

    if not wait([future], timeout).done:
        raise not_come(what, timeout, service)
    return future.result()


def error_of(action: Callable[[], object]) -> Exception | None:
    """Return what a function raises; None: it returns."""
    try:
        action()
    except Exception as error:
        return error
    return None


class Recorder(Generic[T]):
    """Notes what happens, in any thread, and waits for it. Call it to note something.

    Args:
        service: whose state is shown when what is waited for does not come.
    """

    def __init__(self, service: VService | None = None) -> None:
        self.service = service
        self._items: list[T] = []
        self._noted = threading.Condition()

    def __call__(self, item: T) -> None:
        """Note something; from any thread."""
        with self._noted:
            self._items.append(item)
            self._noted.notify_all()

    @property
    def items(self) -> list[T]:
        """What was noted so far, oldest first."""
        with self._noted:
            return list(self._items)

    def wait(self, count: int = 1, timeout: float = WAIT) -> list[T]:
        """Wait until at least ``count`` things were noted; return all."""
        with self._noted:
            if not self._noted.wait_for(lambda: len(self._items) >= count, timeout):
                raise self._missing(f"things to be noted: {count}", timeout)
            return list(self._items)

    def wait_for(self, wanted: Callable[[T], object], what: str, timeout: float = WAIT) -> T:
        """Wait until something that is ``wanted`` was noted; return the first of it."""
        with self._noted:
            found = self._noted.wait_for(lambda: any(map(wanted, self._items)), timeout)
            if not found:
                raise self._missing(what, timeout)
            return next(item for item in self._items if wanted(item))

    def _missing(self, what: str, timeout: float) -> AssertionError:
        noted = "".join(f"\n  {item!r}" for item in self._items) or " nothing"
        error = not_come(what, timeout, self.service)
        return AssertionError(f"{error}\nNoted so far:{noted}")


class LogRecorder(Recorder[str]):
    """The lines that a logger and those below it log, as ``LEVEL:Logger:message``."""

    def wait_for_line(self, pattern: str, timeout: float = WAIT) -> re.Match[str]:
        """Wait for a line that holds a regular expression; return the match."""
        line = self.wait_for(re.compile(pattern).search, f"the line {pattern!r}", timeout)
        found = re.search(pattern, line)
        if found is None:  # pragma: no cover - it was found just now
            raise AssertionError(line)
        return found


@contextlib.contextmanager
def log_of(service: VService, level: int = logging.DEBUG) -> Iterator[LogRecorder]:
    """Give the lines that a service and its tasks log meanwhile, from a level on."""
    lines = LogRecorder(service)
    handler = logging.Handler(level)
    handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
    handler.emit = lambda record: lines(handler.format(record))  # type: ignore[method-assign]
    logger = service.logger
    before = logger.level
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > level:
        logger.setLevel(level)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextlib.contextmanager
def no_further_threads() -> Iterator[None]:
    """Have no thread of this process begin, as on a system that has none left.

    RuntimeError: what `threading.Thread.start` raises meanwhile, in every thread.
    """
    from unittest import mock

    refuse = mock.Mock(side_effect=RuntimeError("can't start new thread"))
    with mock.patch.object(threading.Thread, "start", refuse):
        yield
