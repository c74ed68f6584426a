"""What sparts itself does at a hook, after the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparts.hookspecs import hookimpl
from sparts.settings import Settings
from sparts.shown import ours

if TYPE_CHECKING:
    from sparts.options import OptionGroup
    from sparts.protocols import Service, Task


@hookimpl(tryfirst=True)
def sparts_options_add() -> type[OptionGroup]:
    """Add the options of the kernel."""
    return Settings


@hookimpl(trylast=True)
def sparts_process_wrap(service: Service) -> Any:
    """Run the service in this thread until it ends."""
    return service._run_process()


@hookimpl(trylast=True)
def sparts_service_reload(service: Service) -> None:
    """Read the options again, and have the tasks take in what changed."""
    service._instance.reloading.reload_parts()


@hookimpl(trylast=True)
def sparts_task_init(task: Task) -> bool:
    """Initialise the task."""
    ours(task).initTask()
    return True


@hookimpl(trylast=True)
def sparts_task_start(task: Task) -> bool:
    """Start the task."""
    ours(task).start()
    return True


@hookimpl(trylast=True)
def sparts_task_stop(task: Task) -> bool:
    """Stop the task."""
    ours(task).stop()
    return True
