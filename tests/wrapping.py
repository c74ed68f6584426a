"""Services all of whose calls one wrapper sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sparts.hookspecs import hookimpl
from sparts.testing.running import service_of
from sparts.vservice import VService
from sparts.vtask import VTask


class Plugin:
    """Wraps all calls in one wrapper, and notes for which tasks and kinds it is asked."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper
        self.asked: list[tuple[str, str]] = []

    @hookimpl
    def sparts_call_wrap(self, task: VTask, kind: str) -> Any:
        """Return the wrapper."""
        self.asked.append((task.name, kind))
        return self.wrapper


def with_plugins(plugins: Iterable[object], *tasks: Any) -> type[VService]:
    """Return a service of these tasks, with hook plugins of its own."""

    def register(service: VService) -> None:
        for plugin in plugins:
            service.hooks.register(plugin)

    return service_of(*tasks, initService=register)


def wrapped_by(wrapper: Any, *tasks: Any) -> type[VService]:
    """Return a service of these tasks, all of whose calls a wrapper sees (None: none does)."""
    return with_plugins([Plugin(wrapper)], *tasks)
