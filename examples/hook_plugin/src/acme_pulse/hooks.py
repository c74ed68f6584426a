"""Every hook there is, in one plugin. Its parts have nothing to do with each other but the idea.

The module is light: it imports no framework, and names its task instead of importing it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparts.errors import UsageError
from sparts.hookspecs import hookimpl
from sparts.options import MISSING, OptionGroup, option

if TYPE_CHECKING:
    import argparse

    from sparts.calls import Call, Wrapper
    from sparts.options.binding import Binding
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
    version = option(
        action="store_true", default=False, reloadable=False, help="tell what is felt, and exit"
    )


@hookimpl
def sparts_options_add(service_class: type[VService]) -> type[OptionGroup]:
    """Add --pulse-max-failures, --pulse-beat and --pulse-version."""
    return PulseOptions


class CalmPulse:
    """A source of options: the heart beats once a minute, unless somebody says otherwise."""

    name = "acme-pulse"

    def get(self, option: Binding) -> object:
        """Return the value of one option; of no other is there any."""
        return "1m" if option.dest == "heartbeat_interval" else MISSING


@hookimpl
def sparts_sources_add(
    service_class: type[VService], options: argparse.Namespace
) -> list[CalmPulse]:
    """Add the source, if there is a heartbeat at all."""
    return [CalmPulse()] if PulseOptions.of(service_class, options).beat else []


@hookimpl
def sparts_tasks_add(service_class: type[VService]) -> list[str]:
    """Add the heartbeat; its module is imported only now."""
    return ["Heartbeat@acme-pulse"]


_numbers: WeakKeyDictionary[type[VService], int] = WeakKeyDictionary()


@hookimpl
def sparts_classes_check(service_class: type[VService], tasks: Sequence[type[VTask]]) -> None:
    """Refuse a service of more tasks than anybody can watch, and note how many there are."""
    if len(tasks) > 1000:
        raise UsageError(f"{service_class.__name__} has {len(tasks)} tasks; 1000 are enough.")
    _numbers[service_class] = len(tasks)


@hookimpl
def sparts_counters_add(service: VService) -> dict[str, Callable[[], float]]:
    """Add four counters; one more where `sparts_process_wrap` was called (not by startBG)."""
    pulse = _pulses[service]
    counters: dict[str, Callable[[], float]] = {
        "pulse.failures": lambda: pulse.failures,
        "pulse.calls": lambda: pulse.calls,
        "pulse.start_seconds": lambda: pulse.start_seconds,
        "pulse.tasks": lambda: _numbers[type(service)],
    }
    if (began := service.hooks.kept.get("pulse")) is not None:
        counters["pulse.process_seconds"] = lambda: time.monotonic() - began
    return counters


@hookimpl
def sparts_checks_add(service: VService) -> dict[str, Callable[[], bool]]:
    """Add a health check, which reads its option again each time."""
    pulse, options = _pulses[service], PulseOptions(service)
    return {"pulse.failures": lambda: pulse.failures <= options.max_failures}


@hookimpl
def sparts_status_panels(task: VTask) -> dict[str, Any]:
    """Show on the status page's view of a task how often tasks have failed."""
    pulse = _pulses[task.service]
    return {"title": "Pulse", "data": {"Failures in the service": pulse.failures}}


# -- what it does to the process -------------------------------------------------------------------


@hookimpl
def sparts_service_run(
    service_class: type[VService], options: argparse.Namespace, name: str | None
) -> int | None:
    """Tell what is felt, and run nothing, for --pulse-version."""
    if not PulseOptions.of(service_class, options).version:
        return None
    print(f"acme-pulse 1.0.0 feels {name or service_class.__name__}")
    return 0


@hookimpl(wrapper=True)
def sparts_process_wrap(service: VService) -> Generator[None, object, object]:
    """Note when the service began, which a restart does not change."""
    service.hooks.kept["pulse"] = time.monotonic()
    return (yield)


@hookimpl(trylast=True)
def sparts_logging_configure(service: VService) -> Callable[[], object]:
    """Log when the log begins, which the plugin of sparts has set up by now, and when it ends."""
    service.logger.info("pulse: the log begins")
    return lambda: service.logger.info("pulse: the log ends")


@hookimpl
def sparts_sockets_bind(service: VService) -> None:
    """Log that sockets are opened now."""
    service.logger.info("pulse: sockets are opened")


@hookimpl(trylast=True)
def sparts_privileges_drop(service: VService) -> None:
    """Log who the service is from now on."""
    service.logger.info("pulse: runs as user %d", os.getuid())


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
def sparts_service_ready(service: VService, ready: bool) -> None:
    """Log that the service is ready, or is not any more."""
    service.logger.info("pulse: %s", "ready" if ready else "not ready")


@hookimpl
def sparts_service_reload(service: VService) -> None:
    """Forget the failures so far: somebody has looked."""
    _pulses[service].failures = 0
    service.logger.info("pulse: the failures so far are forgotten")


@hookimpl
def sparts_options_change(service: VService, names: frozenset[str]) -> None:
    """Log which options changed."""
    service.logger.info("pulse: %s changed", ", ".join(sorted(names)))


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
