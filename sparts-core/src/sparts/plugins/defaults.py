"""What sparts itself does at a hook, after the plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.hookspecs import hookimpl

if TYPE_CHECKING:
    from sparts.vtask import VTask


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
