"""What a service reports beyond its tasks: restarts as warnings, and checks of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sparts.errors import describe
from sparts.hookspecs import hookimpl
from sparts.shown import ours, service_of

if TYPE_CHECKING:
    from sparts.protocols import Service
    from sparts.vservice import VService
    from sparts.vtask import VTask


@hookimpl
def sparts_task_failure(task: VTask, error: BaseException, delay: float | None) -> None:
    """Warn of a task that is restarted."""
    if delay is None:
        return
    supervisor, service = ours(task).supervisor, service_of(task)
    name, health = supervisor.name, service.health
    warning = health.warn(f"{name} failed and is restarted: {describe(error)}")
    health.clear_warning(_warnings_of(service).get(name, 0))
    _warnings_of(service)[name] = warning
    until = delay + supervisor.policy.window
    health.call_later(until, lambda: health.clear_warning(warning), f"warning of {name}")


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Take in the health checks that plugins add, as vital ones."""
    _warnings_of(ours(service)).clear()  # those of the instance before
    ours(service).hooks.collect(
        "sparts_checks_add", lambda pair: service.add_check(*pair, vital=True), service=service
    )


def _warnings_of(service: Service) -> dict[str, int]:
    """Return the warnings of restarted tasks, by the names of the tasks."""
    return cast("dict[str, int]", service.hooks.kept.setdefault("checks", {}))
