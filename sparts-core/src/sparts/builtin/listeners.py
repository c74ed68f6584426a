"""The sockets of server tasks: opened before the tasks are initialised, kept over a restart.

What opens them comes with the tasks: a server task names it (`sparts.protocols.Server`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from sparts.errors import StartError, message_of
from sparts.hookspecs import hookimpl
from sparts.shown import ours, service_of
from sparts.states import TaskState

if TYPE_CHECKING:
    from sparts.protocols import Listeners, Server
    from sparts.vservice import VService
    from sparts.vtask import VTask


def servers_of(service: VService) -> list[Server]:
    """Return the server tasks of a service, also those that bind for themselves."""
    tasks = ours(service).getChildren().values()
    return cast("list[Server]", [task for task in tasks if hasattr(type(task), "_opened_by")])


@hookimpl
def sparts_sockets_bind(service: VService) -> None:
    """Open what the server tasks ask for.

    Raises:
        StartError: an address or a file cannot be used; the message names the option.
    """
    servers, kept = servers_of(service), ours(service).hooks.kept
    if servers and "listeners" not in kept:
        kept["listeners"] = type(servers[0])._opened_by()
    if "listeners" in kept:
        kept["listeners"].open(servers)


@hookimpl
def sparts_service_reload(service: VService) -> None:
    """Read certificates again.

    Raises:
        StartError: some cannot be used, and stay as they were; the others are in use.
    """
    failures: list[str] = []
    listeners: Listeners | None = ours(service).hooks.kept.get("listeners")
    for what, reload in listeners.reloads() if listeners else ():
        try:
            reload()
        except Exception as error:
            failures.append(f"{what}: {message_of(error)}")
    if failures:
        raise StartError("; ".join(failures))


@hookimpl
def sparts_task_change(task: VTask, new: TaskState) -> None:
    """Close the sockets of a task that is left out."""
    listeners: Listeners | None = service_of(task).hooks.kept.get("listeners")
    if new is TaskState.SKIPPED and listeners is not None:
        listeners.close(ours(task).name)
