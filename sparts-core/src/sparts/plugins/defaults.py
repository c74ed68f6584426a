"""What sparts itself does at a hook, after the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.hookspecs import hookimpl

if TYPE_CHECKING:
    from sparts.protocols import Service, Task


@hookimpl(trylast=True)
def sparts_process_wrap(service: Service) -> Any:
    """Run the service in this thread until it ends."""
    return service.run_process()


@hookimpl(trylast=True)
def sparts_service_reload(service: Service) -> None:
    """Read the options again, and have the tasks take in what changed."""
    service.reload_parts()


@hookimpl(trylast=True)
def sparts_task_init(task: Task) -> bool:
    """Initialise the task."""
    task.initTask()
    return True


@hookimpl(trylast=True)
def sparts_task_start(task: Task) -> bool:
    """Start the task."""
    task.start()
    return True


@hookimpl(trylast=True)
def sparts_task_stop(task: Task) -> bool:
    """Stop the task."""
    task.stop()
    return True
