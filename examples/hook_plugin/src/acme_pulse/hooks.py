"""Every hook there is, in one plugin. Its parts have nothing to do with each other but the idea.

The module is light: it imports no framework, and names its task instead of importing it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparts.hookspecs import hookimpl
from sparts.options import OptionGroup, option

if TYPE_CHECKING:
    from sparts.calls import Call, Wrapper
    from sparts.states import ServiceStatus, TaskState
    from sparts.vservice import VService
    from sparts.vtask import VTask


class Pulse:
    """What is felt of one instance of a service."""

    def __init__(self) -> None:
        self.failures = 0
        self.calls = 0
        self.start_seconds = 0.0


_pulses: WeakKeyDictionary[VService, Pulse] = WeakKeyDictionary()


# -- what it adds to every service -----------------------------------------------------------------


class PulseOptions(OptionGroup):
    """What acme-pulse does in this service."""

    OPT_PREFIX = "pulse"

    max_failures = option(type=int, default=3, help="failures that a healthy service may have had")
    beat = option(type=bool, default=True, help="log a heartbeat")


@hookimpl
def sparts_options_add(service_class: type[VService]) -> type[OptionGroup]:
    """Add --pulse-max-failures and --pulse-beat."""
    return PulseOptions


@hookimpl
def sparts_tasks_add(service_class: type[VService]) -> list[str]:
    """Add the heartbeat; its module is imported only now."""
    return ["Heartbeat@acme-pulse"]


@hookimpl
def sparts_counters_add(service: VService) -> dict[str, Callable[[], float]]:
    """Add three counters."""
    pulse = _pulses[service]
    return {
        "pulse.failures": lambda: pulse.failures,
        "pulse.calls": lambda: pulse.calls,
        "pulse.start_seconds": lambda: pulse.start_seconds,
    }


@hookimpl
def sparts_checks_add(service: VService) -> dict[str, Callable[[], bool]]:
    """Add a health check, which reads its option anew each time."""
    pulse, options = _pulses[service], PulseOptions(service)
    return {"pulse.failures": lambda: pulse.failures <= options.max_failures}


@hookimpl
def sparts_status_panels(task: VTask) -> dict[str, Any]:
    """Show on the status page's view of a task how often tasks have failed."""
    pulse = _pulses[task.service]
    return {"title": "Pulse", "data": {"Failures in the service": pulse.failures}}


# -- what it sees ----------------------------------------------------------------------------------


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Begin with a new instance."""
    _pulses[service] = Pulse()
    service.logger.info("pulse: %s is felt", service.name)


@hookimpl
def sparts_service_check(service: VService) -> None:
    """Refuse a number of failures that no service can have."""
    if PulseOptions(service).max_failures < 0:
        raise ValueError("--pulse-max-failures must be 0 or more.")


@hookimpl
def sparts_service_change(service: VService, old: ServiceStatus, new: ServiceStatus) -> None:
    """Log a change of status."""
    service.logger.info("pulse: %s to %s", old, new)


@hookimpl
def sparts_task_change(task: VTask, old: TaskState, new: TaskState) -> None:
    """Log a change of a task's state."""
    task.logger.info("pulse: %s to %s", old, new)


@hookimpl
def sparts_task_failure(task: VTask, error: BaseException, delay: float | None) -> None:
    """Count and log a failure."""
    _pulses[task.service].failures += 1
    then = "the service ends" if delay is None else f"again in {delay:.1f} s"
    task.logger.warning("pulse: failed with %r, %s", error, then)


# -- what it wraps ---------------------------------------------------------------------------------


@hookimpl(wrapper=True)
def sparts_task_init(task: VTask) -> Generator[None, object, object]:
    """Leave the heartbeat out if an option says so; time the others."""
    from sparts.errors import SkipTask

    if task.name == "Heartbeat" and not PulseOptions(task.service).beat:
        raise SkipTask("--no-pulse-beat")
    began = time.monotonic()
    result = yield
    _pulses[task.service].start_seconds += time.monotonic() - began
    return result


@hookimpl(wrapper=True)
def sparts_task_start(task: VTask) -> Generator[None, object, object]:
    """Time the start."""
    began = time.monotonic()
    result = yield
    _pulses[task.service].start_seconds += time.monotonic() - began
    task.logger.info("pulse: started")
    return result


@hookimpl(wrapper=True)
def sparts_task_stop(task: VTask) -> Generator[None, object, object]:
    """Log the stop, also of a task that fails in it."""
    try:
        return (yield)
    finally:
        task.logger.info("pulse: told to stop")


@hookimpl
def sparts_call_wrap(task: VTask, kind: str) -> Wrapper:
    """Count the calls of every task that handles some."""
    pulse = _pulses[task.service]

    def count(call: Call, proceed: Callable[[], Any]) -> Any:
        pulse.calls += 1
        return proceed()

    task.logger.info("pulse: counts each %s call", kind)
    return count
