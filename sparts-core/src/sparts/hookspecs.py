"""The hook specifications: where a plugin may look at, or step into, the life of a service.

A hook plugin is a module, named by an entry point of the group ``sparts.plugins``, whose functions
carry the marker `hookimpl` and the name of one of the hooks below. Keep such a module light: every
service imports it, also one that uses nothing of its distribution.

Every hook runs in the thread that the life of the service runs in just then: the service's
lifecycle thread, or the worker thread whose state changes; never per request or per queue item.
Hooks of one service never run at the same time, and arrive in the order of what they tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sparts.states import ServiceStatus, TaskState
    from sparts.taskset import TaskReference
    from sparts.vservice import VService
    from sparts.vtask import VTask

hookspec = pluggy.HookspecMarker("sparts")
hookimpl = pluggy.HookimplMarker("sparts")
"""Marks a function of a plugin as the implementation of the hook of its name."""


@hookspec
def sparts_service_tasks(service_class: type[VService]) -> Sequence[TaskReference]:
    """Contribute tasks to every service: classes or any form of name that ``TASKS`` takes.

    Called when a service's tasks are resolved, before its command line is read. An exception ends
    the process with status 2.
    """
    raise NotImplementedError


@hookspec
def sparts_service_create(service: VService) -> None:
    """Tell of a new instance, its options known, its tasks not yet made.

    Called once an instance, so again at a restart. An exception fails the start.
    """


@hookspec
def sparts_service_change(service: VService, old: ServiceStatus, new: ServiceStatus) -> None:
    """Tell of a change in the status of the service, in order. An exception is logged."""


@hookspec(firstresult=True)
def sparts_task_init(task: VTask) -> Any:
    """Initialise a task: sparts itself calls ``task.initTask()``.

    Implement with ``@hookimpl(wrapper=True)`` to run code around it, or plainly to run before it
    (and return None). An exception fails the start and names the task; `SkipTask` leaves it out.
    """


@hookspec(firstresult=True)
def sparts_task_start(task: VTask) -> Any:
    """Start a task: sparts itself calls ``task.start()``. Wrapped and failing as
    `sparts_task_init`."""


@hookspec(firstresult=True)
def sparts_task_stop(task: VTask) -> Any:
    """Stop a task: sparts itself calls ``task.stop()``, which asks the workers to end.

    An exception is logged, the stop goes on, and the service ends with status 1.
    """


@hookspec
def sparts_task_change(task: VTask, old: TaskState, new: TaskState) -> None:
    """Tell of a change in the state of a task, in order. An exception is logged."""


@hookspec
def sparts_task_failure(task: VTask, error: BaseException, delay: float | None) -> None:
    """Tell that a worker of a task failed with ``error``.

    ``delay`` is the time in seconds after which the worker is restarted; None when the failure
    ends the service. Called in the worker's thread. An exception is logged.
    """
