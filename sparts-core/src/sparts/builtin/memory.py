"""Garbage collection: what is there when all tasks have started is frozen.

It stays to the end, and each full collection would look at all of it again. A restart unfreezes and
collects. Only in a process that belongs to a service (`VService.initFromCLI`).
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from sparts.hookspecs import hookimpl
from sparts.shown import ours
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    from sparts.vservice import VService


@hookimpl(trylast=True)
def sparts_service_change(service: VService, old: ServiceStatus, new: ServiceStatus) -> None:
    """Freeze what is there when a service has started."""
    started = old is ServiceStatus.STARTING and new is not ServiceStatus.STOPPING
    if started and ours(service).health.owns_process:
        gc.freeze()


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Collect what the instance before left."""
    if ours(service).health.owns_process:
        if "memory" in ours(service).hooks.kept:
            gc.unfreeze()
            gc.collect()
        ours(service).hooks.kept["memory"] = True
