"""The sockets of server tasks: opened before the tasks are initialised, kept over a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.errors import StartError
from sparts.hookspecs import hookimpl
from sparts.net.listeners import Listeners
from sparts.states import TaskState

if TYPE_CHECKING:
    from sparts.vservice import VService
    from sparts.vtask import VTask


@hookimpl
def sparts_sockets_bind(service: VService) -> None:
    """Open what the server tasks ask for.

    Raises:
        StartError: an address or a file cannot be used; the message names the option.
    """
    service.plugin_data.setdefault("listeners", Listeners()).open(service.instances())


@hookimpl
def sparts_service_reload(service: VService) -> None:
    """Read certificates again.

    Raises:
        StartError: some cannot be used, and stay as they were; the others are in use.
    """
    failures: list[str] = []
    for what, reload in service.listeners.reloads():
        try:
            reload()
        except StartError as error:
            failures.append(f"{what}: {error}")
    if failures:
        raise StartError("; ".join(failures))


@hookimpl
def sparts_task_change(task: VTask, new: TaskState) -> None:
    """Close the sockets of a task that is left out."""
    if new is TaskState.SKIPPED:
        task.service.listeners.close(task.name)
