"""What is told of a service beyond its tasks: restarts as warnings, and checks of plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.hookspecs import hookimpl

if TYPE_CHECKING:
    from sparts.vservice import VService
    from sparts.vtask import VTask


@hookimpl
def sparts_task_failure(task: VTask, error: BaseException, delay: float | None) -> None:
    """Warn of a task that is restarted."""
    if delay is not None:
        task.service.degraded(task, error, delay + task.supervisor.policy.window)


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Take in the health checks that plugins add, as vital ones."""
    service.hooks.collect(
        "sparts_checks_add", lambda pair: service.add_check(*pair, vital=True), service=service
    )
