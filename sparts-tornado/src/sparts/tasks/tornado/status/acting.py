"""Stops one task of a running service, and starts it again, with what depends on it.

A task is started again as a new instance, as at a restart of the service. Who keeps a reference to
the old one without naming it in ``DEPS`` keeps the old one.
"""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import Future
from math import isfinite
from typing import TYPE_CHECKING, Any

from sparts.errors import SpartsError, describe
from sparts.inbox import Message
from sparts.shown import ours
from sparts.states import ServiceStatus, TaskState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.vservice import VService
    from sparts.vtask import VTask

LONGEST = 25.0
"""Seconds that a task has to stop, if neither it nor the service says less."""
_OVER = (TaskState.STOPPED, TaskState.DEAD, TaskState.SKIPPED)
_numbers = itertools.count()


class NotStoppedError(SpartsError):
    """A task did not stop in time, or may not be stopped."""


def with_dependants(service: VService, task: VTask) -> list[VTask]:
    """Return a task and all that depend on it, directly or not, in start order."""
    found, rest = {task}, [task]
    while rest:
        more = set(service._instance.tasks.dependants(rest.pop())) - found
        found |= more
        rest += more
    return [each for each in service._instance.running.tasks().values() if each in found]


def in_lifecycle(service: VService, function: Callable[[], Any]) -> Future[Any]:
    """Have the lifecycle thread of a service call a function, and return the future of it."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            if service._instance.health.status not in (ServiceStatus.ALIVE, ServiceStatus.WARNING):
                raise NotStoppedError(f"The service is {service._instance.health.status}.")
            future.set_result(function())
        except BaseException as error:  # it belongs to who asked
            future.set_exception(error)

    name = f"asked for {next(_numbers)}"
    service._instance.inbox.put(Message("later", service, (name, 0.0, run)))
    return future


def stop_task(service: VService, task: VTask) -> list[VTask]:
    """Stop a task after those that depend on it; return all of them. In the lifecycle thread.

    Raises:
        NotStoppedError: one of them did not stop in time. Those before it have stopped.
        Exception: what ``stop`` or ``join`` of one of them raised.
    """
    affected = with_dependants(service, task)
    for each in reversed(affected):
        if each._supervisor.state in _OVER:
            continue
        limits = [LONGEST, ours(each).STOP_TIMEOUT, service.getOption("stop_timeout")]
        seconds = min(limit for limit in limits if limit and isfinite(limit))
        each._supervisor.stopping(seconds)
        service._instance.hooks.call("sparts_task_stop", task=each)
        _join(each, seconds + 1)
        each._supervisor.state = TaskState.STOPPED
    return affected


def _join(task: VTask, seconds: float) -> None:
    ended: Future[None] = Future()

    def join() -> None:
        try:
            task.join()
            ended.set_result(None)
        except BaseException as error:
            ended.set_exception(error)

    threading.Thread(target=join, name=f"{ours(task).logger.name}.join", daemon=True).start()
    try:
        ended.result(seconds)
    except TimeoutError:
        if not ended.done():
            name = task._supervisor.name
            raise NotStoppedError(f"{name} did not stop within {seconds:g} s.") from None
        raise


def restart_task(service: VService, task: VTask, forget: Callable[[VTask], None]) -> list[str]:
    """Stop a task and what depends on it, and start new instances; in the lifecycle thread.

    Returns the names of all of them. ``forget`` is called with each old instance, to remove what
    its ``initTask`` has added to the service.

    Raises:
        NotStoppedError: one did not stop in time.
        Exception: what a method of a task raised. The task is DEAD then, and the service has a
            warning.
    """
    tasks = service._instance.tasks
    names = [each._supervisor.name for each in stop_task(service, task)]
    new: dict[str, VTask] = {}
    for name in names:
        old = tasks.require(name)
        forget(old)
        new[name] = type(old)(service)
        tasks.replace(old, new[name])
    ours(service).listeners.open(service._instance.running.tasks().values())
    for step in (_init, _start):
        for each in new.values():
            try:
                step(service, each)
            except BaseException as error:
                each._supervisor.fail_with(error)
                name = each._supervisor.name
                service.registerWarning(f"{name} did not start again: {describe(error)}")
                raise
    return names


def _init(service: VService, task: VTask) -> None:
    task._supervisor.state = TaskState.STARTING
    service._instance.hooks.call("sparts_task_init", task=task)


def _start(service: VService, task: VTask) -> None:
    service._instance.hooks.call("sparts_task_start", task=task)
    task._supervisor.start_returned()
