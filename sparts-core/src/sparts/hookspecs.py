"""The hook specifications: where a plugin may look at, or step into, the life of a service.

A hook plugin is a module, named by an entry point of the group ``sparts.plugins``, whose functions
carry the marker `hookimpl` and the name of one of the hooks below. Keep such a module light: every
service imports it, also one that uses nothing of its distribution.

Every hook runs in the thread that the life of the service runs in just then: the service's
lifecycle thread, or the worker thread whose state changes; never per request or per queue item.
Hooks of one service never run at the same time, and arrive in the order of what they report.
"""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.dispatch import hookimpl, hookspec

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping, Sequence

    from sparts.calls import Call
    from sparts.established import TaskReference
    from sparts.options import OptionGroup, OptionSource
    from sparts.protocols import Service, Task
    from sparts.states import ServiceStatus, TaskState

__all__ = ["hookimpl", "hookspec"]


@hookspec()
def sparts_options_add(
    service_class: type[Service],
) -> type[OptionGroup] | Sequence[type[OptionGroup]]:
    """Add options to every service: classes derived from `sparts.options.OptionGroup`.

    Called when the command line is read, and once more if that takes a parser (for ``-h``, after a
    mistake, where a class brings its own), in the thread that does so: the main thread, as a rule.
    An exception ends the process with status 2 and names the plugin; ``-h`` shows it and goes on.
    """


@hookspec()
def sparts_tasks_add(service_class: type[Service]) -> TaskReference | Sequence[TaskReference]:
    """Contribute tasks to every service: classes or any form of name that ``TASKS`` takes.

    Called when a service's tasks are resolved, before its command line is read and again for each
    instance, in that thread. An exception ends the process with status 2 and names the plugin;
    ``-h`` shows it and goes on.
    """


@hookspec()
def sparts_classes_check(service_class: type[Service], tasks: Sequence[type[Task]]) -> None:
    """Raise if a service must not run because of how its class or those of its tasks are written.

    Called when an instance is made, so before anything starts, in that thread. An exception ends
    the process: a `UsageError` with status 2, anything else with 1.
    """


@hookspec()
def sparts_counters_add(service: Service) -> Mapping[str, Callable[[], float]]:
    """Add counters to the service's own: functions by name, each of which reads a number.

    Called once an instance, in the lifecycle thread, when the tasks are made. The functions are
    called in any thread that asks for counters; one that raises is left out of the answer. An
    exception of the hook, or a name that is taken, fails the start with status 2.
    """


@hookspec()
def sparts_checks_add(service: Service) -> Mapping[str, Callable[[], object]]:
    """Add health checks: functions by name that return False or raise when something is wrong.

    Called as `sparts_counters_add` is. The functions are called in any thread that asks whether
    the service is healthy (the watchdog of systemd, transports), and must not block. What they
    raise is the reason shown. Anything but False is well.
    """


@hookspec()
def sparts_status_panels(task: Task) -> Mapping[str, Any] | Sequence[Mapping[str, Any]]:
    """Add panels to the status page's view of a task: ``{"title": ..., "data": ...}`` each.

    The data is a string, facts (a dict) or a table (a list of dicts), without markup. Called in a
    thread of the status task whenever somebody looks at the task; what it raises is shown.
    """


@hookspec()
def sparts_service_create(service: Service) -> None:
    """Report a new instance, its options known, its tasks not yet made.

    Called once an instance, so again at a restart, in the lifecycle thread. An exception fails the
    start with status 2 and names the plugin.
    """


@hookspec()
def sparts_service_check(service: Service) -> None:
    """Raise if the plugin could not work as it is configured; called for ``--dryrun`` alone.

    Called in the main thread, on an instance that is not started. The exception's message is
    printed, and the exit status is 1.
    """


@hookspec()
def sparts_service_change(service: Service, old: ServiceStatus, new: ServiceStatus) -> None:
    """Report a change in the status of the service, in order. An exception is logged."""


@hookspec(firstresult=True)
def sparts_task_init(task: Task) -> Any:
    """Initialise a task: sparts itself calls ``task.initTask()``.

    Implement with ``@hookimpl(wrapper=True)`` to run code around it, or plainly to run before it
    (and return None). An exception fails the start and names the task; `SkipTask` leaves it out.
    """


@hookspec(firstresult=True)
def sparts_task_start(task: Task) -> Any:
    """Start a task: sparts itself calls ``task.start()``. Wrapped and failing as
    `sparts_task_init`."""


@hookspec(firstresult=True)
def sparts_task_stop(task: Task) -> Any:
    """Stop a task: sparts itself calls ``task.stop()``, which asks the workers to end.

    An exception is logged, the stop goes on, and the service ends with status 1.
    """


@hookspec()
def sparts_call_wrap(task: Task, kind: str) -> Callable[[Call, Callable[[], Any]], Any] | None:
    """Return a wrapper of the task's calls: ``wrapper(call, proceed)``; None: there is none.

    Asked once for each task that handles calls, in the lifecycle thread before it is initialised
    (earlier, if something needs the task's handler before). `sparts.calls` describes wrappers. Of
    several, the first in the order of the hook's calls is the outermost. Without any, calls cost
    nothing more. A plugin that is registered later is not asked. An exception fails the start with
    status 2 and names the plugin.

    Args:
        task: the task.
        kind: the kind of its calls, such as ``http`` or ``queue``; see `sparts.calls.Call`.
    """


@hookspec()
def sparts_task_change(task: Task, old: TaskState, new: TaskState) -> None:
    """Report a change in the state of a task, in order. An exception is logged."""


@hookspec()
def sparts_task_failure(task: Task, error: BaseException, delay: float | None) -> None:
    """Report that a worker of a task failed with ``error``.

    ``delay`` is the time in seconds after which the worker is restarted; None when the failure
    ends the service. Called in the worker's thread. An exception is logged.
    """


# -- the process ----------------------------------------------------------------------------------


@hookspec()
def sparts_sources_add(
    service_class: type[Service], options: argparse.Namespace
) -> OptionSource | Sequence[OptionSource]:
    """Add sources of option values, such as a vault: see `sparts.options.OptionSource`.

    They count less than the command line, the environment and configuration files, and more than
    the classes. ``options`` has what the command line, the environment and the classes give.
    Called once a process, before its service is made, in that thread. An exception ends the process
    with status 2 and names the plugin.
    """


@hookspec(firstresult=True)
def sparts_service_run(
    service_class: type[Service], options: argparse.Namespace, name: str | None
) -> int | None:
    """Do something instead of running the service, and return the exit status; None: run it.

    Called when the options are known and the service is not made, in the thread that runs it.
    ``name`` is the name that the caller gave; None: that of the class. An exception ends the
    process: a `UsageError` with status 2, anything else with 1.
    """


@hookspec(firstresult=True)
def sparts_process_wrap(service: Service) -> Any:
    """Run the service: sparts itself runs it until it ends, also over restarts.

    Implement with ``@hookimpl(wrapper=True)`` to run code around it, in the thread that runs the
    service. ``SystemExit`` before the ``yield`` ends the process without running it.
    Not called for `VService.startBG`. An exception ends the process with status 1, a `UsageError`
    with 2.
    """


@hookspec()
def sparts_logging_configure(service: Service) -> Callable[[], object] | None:
    """Set up logging for an instance; return a function that undoes it, or None.

    Called by `VService.initLogging`, in the lifecycle thread, for each instance. The function is
    called when the last instance has ended, in a thread of the service's own. (At a restart the
    next instance takes over what there is, and what its own call returns counts.) An exception ends
    the process with status 1, a `UsageError` with 2.
    """


@hookspec()
def sparts_sockets_bind(service: Service) -> None:
    """Open what the service's tasks listen on.

    Called once an instance, after the tasks are made and before privileges are dropped, in the
    lifecycle thread. An exception fails the start.
    """


@hookspec()
def sparts_privileges_drop(service: Service) -> None:
    """Give up what the process may do and the service need not.

    Called once an instance, after `sparts_sockets_bind` and before any task is initialised, in the
    lifecycle thread. An exception fails the start.
    """


@hookspec()
def sparts_service_ready(service: Service, ready: bool) -> None:
    """Report that the service became ready, or is not ready any more. An exception is logged."""


@hookspec()
def sparts_service_reload(service: Service) -> None:
    """Take in changed files (SIGHUP).

    Called in the lifecycle thread. sparts itself reads the options again and calls ``reload`` of
    each task. An exception is logged and becomes a warning of the service until the next reload.
    """


@hookspec()
def sparts_options_change(service: Service, names: frozenset[str]) -> None:
    """Report that options changed at run time, before the tasks learn of it.

    Called in the thread that set them, or in the lifecycle thread at a reload. ``names`` are as in
    the namespace: ``http_port``. An exception is logged.
    """
