"""What a service reports beyond its tasks: restarts as warnings, and checks of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.hookspecs import hookimpl
from sparts.protocols import service_of
from sparts.shown import ours

if TYPE_CHECKING:
    from sparts.vservice import VService
    from sparts.vtask import VTask


@hookimpl
def sparts_task_failure(task: VTask, error: BaseException, delay: float | None) -> None:
    """Warn of a task that is restarted."""
    if delay is not None:
        supervisor = ours(task).supervisor
        health = service_of(task).health
        health.degraded(supervisor.name, error, delay + supervisor.policy.window)


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Take in the health checks that plugins add, as vital ones."""
    ours(service).hooks.collect(
        "sparts_checks_add", lambda pair: service.add_check(*pair, vital=True), service=service
    )
