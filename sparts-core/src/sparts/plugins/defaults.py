"""What sparts itself does at a hook, after the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.hookspecs import hookimpl

if TYPE_CHECKING:
    from sparts.vservice import VService
    from sparts.vtask import VTask


@hookimpl(trylast=True)
def sparts_process_wrap(service: VService) -> Any:
    """Run the service in this thread until it ends."""
    return service.run_process()


@hookimpl(trylast=True)
def sparts_service_reload(service: VService) -> None:
    """Read the options again, and have the tasks take in what changed."""
    service.reload_parts()


@hookimpl(trylast=True)
def sparts_task_init(task: VTask) -> bool:
    """Initialise the task."""
    task.initTask()
    return True


@hookimpl(trylast=True)
def sparts_task_start(task: VTask) -> bool:
    """Start the task."""
    task.start()
    return True


@hookimpl(trylast=True)
def sparts_task_stop(task: VTask) -> bool:
    """Stop the task."""
    task.stop()
    return True
